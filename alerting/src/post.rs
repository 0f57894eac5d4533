//! One HTTP POST that is signed, timed and never follows a redirect: callbacks and webhook pages alike.

use std::time::Duration;

use reqwest::{
    Client, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};

use crate::{config::Keys, signature::sign, text};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Idle connections kept to one receiver.
const IDLE_PER_HOST_MAX: usize = 8;
/// As much of a refusal's body is quoted, in characters.
const QUOTE_MAX: usize = 200;
/// As much of an answer is looked at, in bytes.
const BODY_MAX: usize = 64 << 10;

/// What is sent.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub(crate) url: &'a str,
    pub(crate) idempotency_key: &'a str,
    pub(crate) secret: Option<&'a Keys>,
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
    /// The beginning of the body, in one line.
    pub(crate) body: String,
    /// Nobody has answered, and yet it may have been taken: a connection was there.
    pub(crate) may_be_taken: bool,
    /// Whoever answered asks not to be asked before.
    pub(crate) wait: Option<Duration>,
}

/// For how long a receiver that is there, and does not take it now, asks to be left alone.
pub(crate) fn asked_to_wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let asked = headers.get(RETRY_AFTER).filter(|_| busy)?.to_str().ok()?;
    asked.trim().parse().ok().map(Duration::from_secs)
}

/// What an answer is to be; by default any 2xx.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) status: Vec<u16>,
    pub(crate) body: Option<regex::Regex>,
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
    ask(client, post, &[], &Expected::default()).await
}

/// Sends it with more headers and judges the answer.
pub(crate) async fn ask(
    client: &Client,
    post: Post<'_>,
    headers: &[(&str, &str)],
    expected: &Expected,
) -> Answer {
    let mut request = client
        .post(post.url)
        .timeout(post.timeout)
        .header(CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", post.idempotency_key)
        .header("webhook-id", post.idempotency_key)
        .header("webhook-timestamp", post.timestamp);
    if let Some(keys) = post.secret {
        let signature = sign(keys, post.idempotency_key, post.timestamp, &post.body);
        request = request.header("webhook-signature", signature);
    }
    if let Some(token) = post.fencing_token {
        request = request.header("Watchkeep-Fencing-Token", token);
    }
    if let Some(parent) = post.trace_parent {
        request = request.header("traceparent", parent);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = match request.body(post.body).send().await {
        Ok(response) => response,
        Err(error) => {
            let may_be_taken = !error.is_connect();
            let text = match error.is_timeout() {
                true => format!("no answer within {} ms", post.timeout.as_millis()),
                // Without the URL, which the reader knows and which may be private.
                false => watchkeep_catalog::causes(&error.without_url()),
            };
            let (status, error, body) = (None, Some(text), String::new());
            return Answer { status, error, body, may_be_taken, wait: None };
        }
    };
    let may_be_taken = false;
    let status = response.status();
    let as_expected = match expected.status.as_slice() {
        [] => status.is_success(),
        wanted => wanted.contains(&status.as_u16()),
    };
    if as_expected && expected.body.is_none() {
        let (status, body) = (Some(status.as_u16()), String::new());
        return Answer { status, error: None, body, may_be_taken, wait: None };
    }
    let wait = asked_to_wait(status, response.headers());
    let wanted = if as_expected { BODY_MAX } else { 1 };
    let mut body = Vec::new();
    while body.len() < wanted
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8_lossy(&body[..body.len().min(BODY_MAX)]).into_owned();
    let quoted = text::shorten(&body, QUOTE_MAX);
    let said = if quoted.is_empty() { String::new() } else { format!(": {quoted}") };
    let error = if as_expected {
        let fits = expected.body.as_ref().is_none_or(|wanted| wanted.is_match(&body));
        (!fits).then(|| format!("answered {status}, but not what is expected{said}"))
    } else {
        let hint = if status.is_redirection() { " (redirects are not followed)" } else { "" };
        Some(format!("answered {status}{hint}{said}"))
    };
    Answer { status: Some(status.as_u16()), error, body: quoted, may_be_taken, wait }
}
