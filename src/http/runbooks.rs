//! `/runbooks/{alert}`: one page per alert, from the Markdown in the folder `runbooks/`, embedded.

use axum::{Router, extract::Path, response::Html, routing};
use pulldown_cmark::{Options, Parser};
use rust_embed::RustEmbed;

use super::{
    html::{self, Text},
    problem::Problem,
};

#[derive(RustEmbed)]
#[folder = "runbooks/"]
struct Runbooks;

pub(super) fn router() -> Router {
    Router::new()
        .route("/runbooks/", routing::get(list))
        .route("/runbooks/{alert}", routing::get(get))
}

async fn list() -> Html<String> {
    let link = |file: std::borrow::Cow<'static, str>| {
        let name = file.trim_end_matches(".md").to_owned();
        format!("<li><a href=\"/runbooks/{0}\">{0}</a></li>", Text(name))
    };
    let links: String = Runbooks::iter().filter(|f| f.ends_with(".md")).map(link).collect();
    html::page("Runbooks", false, &format!("<h1>Runbooks</h1><ul>{links}</ul>"))
}

async fn get(Path(alert): Path<String>) -> Result<Html<String>, Problem> {
    let name = alert.trim_end_matches(".md");
    let found = Runbooks::get(&format!("{name}.md")).ok_or_else(|| {
        Problem::not_found(format!("there is no runbook for {name:?}: /runbooks/ lists them"))
    })?;
    let markdown = String::from_utf8_lossy(&found.data);
    let mut body = String::new();
    pulldown_cmark::html::push_html(&mut body, Parser::new_ext(&markdown, Options::ENABLE_TABLES));
    Ok(html::page(name, false, &body))
}
