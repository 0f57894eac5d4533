//! Plain HTTP and JSON, as `curl` would speak it.

use std::{sync::OnceLock, time::Duration};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;

/// One client for all tests of this process.
pub fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // A second test of this process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            // Each test has a runtime of its own; a connection must not outlive the one it was made in.
            .pool_max_idle_per_host(0)
            .build()
            .expect("HTTP client")
    })
}

/// The status and the body.
///
/// # Errors
/// When nobody answers.
pub async fn send(request: RequestBuilder) -> Result<(StatusCode, String), String> {
    let answer = request.send().await.map_err(|e| format!("{e:?}"))?;
    let status = answer.status();
    Ok((status, answer.text().await.map_err(|e| e.to_string())?))
}

/// The body of a 2xx answer.
///
/// # Errors
/// When nobody answers or the status is another.
pub async fn text(request: RequestBuilder) -> Result<String, String> {
    let (status, body) = send(request).await?;
    if status.is_success() { Ok(body) } else { Err(format!("{status}: {body}")) }
}

/// The JSON body of a 2xx answer.
///
/// # Errors
/// When nobody answers, the status is another, or the body is not JSON.
pub async fn json(request: RequestBuilder) -> Result<Value, String> {
    let body = text(request).await?;
    serde_json::from_str(&body).map_err(|e| format!("{e}: {body}"))
}

/// `GET`, JSON.
///
/// # Errors
/// As [`json`].
pub async fn get(url: &str) -> Result<Value, String> {
    json(client().get(url)).await.map_err(|e| format!("GET {url}: {e}"))
}

/// `POST` of JSON, JSON back.
///
/// # Errors
/// As [`json`].
pub async fn post(url: &str, body: &Value) -> Result<Value, String> {
    json(client().post(url).json(body)).await.map_err(|e| format!("POST {url}: {e}"))
}

/// Any method with a JSON body; status and body, whatever they are.
///
/// # Panics
/// When nobody answers.
pub async fn any(method: Method, url: &str, body: Option<&str>) -> (StatusCode, String) {
    let mut request = client().request(method.clone(), url);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    send(request).await.unwrap_or_else(|e| panic!("{method} {url}: {e}"))
}
