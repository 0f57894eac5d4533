//! What the console refuses, for people: a page in place of the API's JSON, where a browser asks.

use axum::{
    extract::Request,
    http::{
        Method,
        header::{ACCEPT, CONTENT_TYPE},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use crate::http::html::{Text, page};

/// Largest refusal that is read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Around all pages of the console.
pub(super) async fn in_a_page(request: Request, next: Next) -> Response {
    let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let is_browser = accepts.is_some_and(|kinds| kinds.contains("text/html"));
    let back = match *request.method() {
        Method::POST => way_back(request.uri().path()),
        _ => "/".to_owned(),
    };
    let answer = next.run(request).await;
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    let is_refusal = status.is_client_error() || status.is_server_error();
    if !(is_browser && is_refusal && is_json) {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let Ok(body) = Limited::new(body, REFUSAL_BYTES_MAX).collect().await else {
        return parts.into_response();
    };
    let said: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let said = said["error"].as_str().unwrap_or("it was refused");
    let body = format!(
        "<h1>This did not work</h1><p>{}</p><p><a href=\"{}\">Back</a></p>",
        Text(said),
        Text(back)
    );
    (status, page("This did not work", false, &body)).into_response()
}

/// The page on which the button is that posts to `path`.
fn way_back(path: &str) -> String {
    let mut segments = path.split('/').skip(1);
    match (segments.next(), segments.next()) {
        (Some("incidents"), Some(id)) => format!("/incidents/{id}"),
        (Some(page), _) => format!("/{page}"),
        (None, _) => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware, routing};
    use tower::ServiceExt;

    use super::*;
    use crate::http::problem::Problem;

    #[tokio::test]
    async fn browsers_get_a_page_and_programs_json() {
        let refuse = || async { Problem::bad_request("to: <b> is nobody") };
        let router = Router::new()
            .route("/incidents/{id}/acknowledge", routing::post(refuse))
            .layer(middleware::from_fn(in_a_page));
        for (accept, parts) in [
            ("text/html,*/*;q=0.8", &["to: &lt;b&gt; is nobody", "href=\"/incidents/i-1\""][..]),
            ("*/*", &["{\"error\":\"to: <b> is nobody\"}"]),
        ] {
            let request = Request::builder().method("POST").uri("/incidents/i-1/acknowledge");
            let request = request.header(ACCEPT, accept).body(Body::empty()).expect("a request");
            let answer = router.clone().oneshot(request).await.expect("an answer");
            assert_eq!(answer.status(), 400);
            let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
            let said = String::from_utf8_lossy(&bytes);
            for part in parts {
                assert!(said.contains(part), "{accept}: no {part} in {said}");
            }
        }
        assert_eq!(way_back("/alerts/silences/x/expire"), "/alerts");
        assert_eq!(way_back("/oncall/primary/changes"), "/oncall");
    }
}
