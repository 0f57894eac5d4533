//! `/dashboards/*.json`: the Grafana dashboards.

use axum::{
    Router,
    extract::Path,
    http::header,
    response::{Html, IntoResponse},
    routing,
};
use serde_json::Value;

use super::{
    html::{self, Text},
    problem::Problem,
};
use crate::dashboards;

pub(super) fn router() -> Router {
    Router::new()
        .route("/dashboards/", routing::get(list))
        .route("/dashboards/{file}", routing::get(get))
}

async fn list() -> Html<String> {
    let row = |file: String| {
        let board: Value = dashboards::file(&file)
            .and_then(|b| serde_json::from_slice(&b).ok())
            .unwrap_or_default();
        let said = |field: &str| board[field].as_str().unwrap_or_default().to_owned();
        let link = format!("<a href=\"/dashboards/{0}\">{0}</a>", Text(&file));
        vec![link, Text(said("title")).to_string(), Text(said("description")).to_string()]
    };
    let rows: Vec<Vec<String>> = dashboards::names().into_iter().map(row).collect();
    let table = html::table(&["File", "Title", "Answers"], &rows, "There are none.");
    let body = format!(
        "<h1>Dashboards</h1>{table}<p>Import them into Grafana (<em>Dashboards, New, Import</em>); \
         each asks for its Prometheus data source, which may be this node.</p>"
    );
    html::page("Dashboards", false, &body)
}

async fn get(Path(file): Path<String>) -> Result<impl IntoResponse, Problem> {
    let found = dashboards::file(&file).ok_or_else(|| {
        Problem::not_found(format!("there is no dashboard {file:?}: /dashboards/ lists them"))
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], found))
}
