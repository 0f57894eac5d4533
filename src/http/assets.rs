//! `/dashboards/*.json`: the Grafana dashboards in the folder `dashboards/`, embedded.

use axum::{
    Router,
    extract::Path,
    http::header,
    response::{Html, IntoResponse},
    routing,
};
use rust_embed::RustEmbed;

use super::{
    html::{self, Text},
    problem::Problem,
};

#[derive(RustEmbed)]
#[folder = "dashboards/"]
struct Dashboards;

pub(super) fn router() -> Router {
    Router::new()
        .route("/dashboards/", routing::get(list))
        .route("/dashboards/{file}", routing::get(get))
}

async fn list() -> Html<String> {
    let link = |file: std::borrow::Cow<'static, str>| {
        format!("<li><a href=\"/dashboards/{0}\">{0}</a></li>", Text(file))
    };
    let links: String = Dashboards::iter().filter(|f| f.ends_with(".json")).map(link).collect();
    let body = format!(
        "<h1>Dashboards</h1><ul>{links}</ul><p>Import them into Grafana; each asks for its Prometheus data source.</p>"
    );
    html::page("Dashboards", false, &body)
}

async fn get(Path(file): Path<String>) -> Result<impl IntoResponse, Problem> {
    let found = Dashboards::get(&file).filter(|_| file.ends_with(".json")).ok_or_else(|| {
        Problem::not_found(format!("there is no dashboard {file:?}: /dashboards/ lists them"))
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], found.data.into_owned()))
}
