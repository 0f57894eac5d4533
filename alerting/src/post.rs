//! One HTTP POST that is signed, timed and never follows a redirect: callbacks and webhook pages alike.

use std::time::Duration;

use reqwest::{Client, header::CONTENT_TYPE, redirect::Policy};

use crate::{config::Secret, signature::sign, text};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections kept to one receiver.
const IDLE_PER_HOST_MAX: usize = 8;
/// As much of a refusal's body is quoted, in characters.
const QUOTE_MAX: usize = 200;

/// What is sent.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub(crate) url: &'a str,
    pub(crate) idempotency_key: &'a str,
    pub(crate) secret: Option<&'a Secret>,
    /// W3C `traceparent`.
    pub(crate) trace_parent: Option<String>,
    pub(crate) fencing_token: Option<i64>,
    pub(crate) body: Vec<u8>,
    pub(crate) timeout: Duration,
    /// Seconds since 1970.
    pub(crate) timestamp: i64,
}

/// What came back: delivered when there is no error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
}

/// The client for all posts. It uses no proxy: receivers are named by address.
///
/// # Errors
/// When TLS cannot be set up, such as without a crypto provider.
pub(crate) fn http_client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(concat!("watchkeep/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .redirect(Policy::none())
        .tcp_nodelay(true)
        .no_proxy()
        .build()
}

/// Sends it and waits for the answer's status.
pub(crate) async fn send(client: &Client, post: Post<'_>) -> Answer {
    let mut request = client
        .post(post.url)
        .timeout(post.timeout)
        .header(CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", post.idempotency_key)
        .header("webhook-id", post.idempotency_key)
        .header("webhook-timestamp", post.timestamp);
    if let Some(secret) = post.secret {
        let signature = sign(secret, post.idempotency_key, post.timestamp, &post.body);
        request = request.header("webhook-signature", signature);
    }
    if let Some(token) = post.fencing_token {
        request = request.header("Watchkeep-Fencing-Token", token);
    }
    if let Some(parent) = post.trace_parent {
        request = request.header("traceparent", parent);
    }
    let mut response = match request.body(post.body).send().await {
        Ok(response) => response,
        Err(error) if error.is_timeout() => {
            let error = Some(format!("no answer within {} ms", post.timeout.as_millis()));
            return Answer { status: None, error };
        }
        // Without the URL, which the reader knows and which may be private.
        Err(error) => {
            return Answer { status: None, error: Some(text::chain(&error.without_url())) };
        }
    };
    let status = response.status();
    if status.is_success() {
        return Answer { status: Some(status.as_u16()), error: None };
    }
    let said = match response.chunk().await {
        Ok(Some(chunk)) if !chunk.is_empty() => {
            format!(": {}", text::shorten(&String::from_utf8_lossy(&chunk), QUOTE_MAX))
        }
        _ => String::new(),
    };
    let hint = if status.is_redirection() { " (redirects are not followed)" } else { "" };
    let error = Some(format!("answered {status}{hint}{said}"));
    Answer { status: Some(status.as_u16()), error }
}
