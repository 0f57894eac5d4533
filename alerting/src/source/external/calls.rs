//! Requests to the data source: tried again while that may help, and errors in one shape.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use tokio::time::sleep;
use url::form_urlencoded;
use watchkeep_catalog::access::Wrong;

use super::{SourceError, backoff, config::DataSourceConfig, door::Door, wire};
use crate::text;

/// Largest answer.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// As much of a refusal is quoted, in characters.
const QUOTE_MAX: usize = 300;

/// The way to the data source.
#[derive(Debug)]
pub(super) struct Calls {
    door: Door,
    base: String,
    write_url: Option<String>,
    timeout: Duration,
    attempts_max: u32,
    min_backoff: Duration,
    max_backoff: Duration,
}

/// What one try came to, when it was not an answer.
enum Failed {
    /// Another try may help; and how long the other side asks to wait.
    Again(String, Option<Duration>),
    /// It would not.
    Final(SourceError),
}

impl Calls {
    pub(super) fn new(config: &DataSourceConfig) -> Result<Self, Wrong> {
        config.check()?;
        Ok(Self {
            door: Door::new(config)?,
            base: config.url.trim_end_matches('/').to_owned(),
            write_url: config.remote_write_url.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            attempts_max: config.attempts_max,
            min_backoff: Duration::from_millis(config.min_backoff_ms),
            max_backoff: Duration::from_millis(config.max_backoff_ms),
        })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn unavailable(&self, message: impl Into<String>) -> SourceError {
        SourceError::Unavailable { url: self.base.clone(), message: message.into() }
    }

    /// The body of a good answer to a question, which changes nothing and may be asked again.
    pub(super) async fn ask(
        &self,
        path: &str,
        expr: &str,
        form: &[(&str, String)],
    ) -> Result<Bytes, SourceError> {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut method = Method::POST;
        let mut tries = 0;
        loop {
            let answer = self.once(&method, path, &form).await;
            let failed = match answer {
                // Someone who reads only.
                Ok(answer) if is_no_post(answer.status()) && method == Method::POST => {
                    method = Method::GET;
                    continue;
                }
                Ok(answer) => match self.judge(answer, expr).await {
                    Ok(body) => return Ok(body),
                    Err(failed) => failed,
                },
                Err(error) => Failed::Again(words(&error, self.timeout), None),
            };
            tries += 1;
            match failed {
                Failed::Final(error) => return Err(error),
                Failed::Again(message, _) if tries >= self.attempts_max => {
                    let times = if tries == 1 { "once" } else { "again and again" };
                    return Err(self.unavailable(format!("{message} (tried {times}: {tries})")));
                }
                Failed::Again(_, asked) => self.pause(tries, asked).await,
            }
        }
    }

    async fn pause(&self, tries: u32, asked: Option<Duration>) {
        let own = backoff(self.min_backoff, self.max_backoff, tries - 1);
        sleep(asked.unwrap_or(own).min(self.max_backoff)).await;
    }

    async fn once(&self, method: &Method, path: &str, form: &str) -> reqwest::Result<Response> {
        let url = format!("{}/api/v1/{path}", self.base);
        let request = if *method == Method::POST {
            let request = self.door.client().post(url).body(form.to_owned());
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        } else {
            self.door.client().get(format!("{url}?{form}"))
        };
        request.headers(self.door.headers()).send().await
    }

    async fn judge(&self, mut answer: Response, expr: &str) -> Result<Bytes, Failed> {
        let (status, asked) = (answer.status(), retry_after(answer.headers()));
        let mut body = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(None) => break,
                Ok(Some(part)) if body.len() + part.len() > ANSWER_BYTES_MAX => {
                    let message =
                        format!("the answer has more than {ANSWER_BYTES_MAX} bytes: ask for less");
                    let expr = expr.to_owned();
                    return Err(Failed::Final(SourceError::Evaluation { expr, message }));
                }
                Ok(Some(part)) => body.extend_from_slice(&part),
                Err(error) => return Err(Failed::Again(words(&error, self.timeout), None)),
            }
        }
        if status.is_success() {
            return Ok(body.into());
        }
        let quote = || text::shorten(&String::from_utf8_lossy(&body), QUOTE_MAX);
        let (kind, message) = wire::refusal(&body).unwrap_or_else(|| (String::new(), quote()));
        let expr = expr.to_owned();
        let limit_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        Err(match (status, kind.as_str()) {
            (_, "timeout") => Failed::Final(SourceError::Timeout { expr, limit_ms }),
            (_, "bad_data") => Failed::Final(SourceError::Expression { expr, message }),
            (StatusCode::UNPROCESSABLE_ENTITY, _) | (_, "execution") => {
                Failed::Final(SourceError::Evaluation { expr, message })
            }
            (StatusCode::BAD_REQUEST, _) => {
                Failed::Final(SourceError::Expression { expr, message })
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Failed::Again(format!("answered {status}: {message}"), asked)
            }
            _ => Failed::Final(self.unavailable(said(status, &message))),
        })
    }

    /// Sends a body by remote write until it is taken, as often as is allowed. Repeating it does no harm: a sample that is
    /// there already is one.
    pub(super) async fn write(&self, body: Vec<u8>) -> Result<(), String> {
        let Some(url) = &self.write_url else {
            return Err("alerting.data_source.remote_write_url says where recorded series go; it is not set".to_owned());
        };
        let body = Bytes::from(body);
        let mut tries = 0;
        loop {
            let request = self
                .door
                .client()
                .post(url)
                .headers(self.door.headers())
                .header(CONTENT_ENCODING, "snappy")
                .header(CONTENT_TYPE, "application/x-protobuf")
                .header("X-Prometheus-Remote-Write-Version", "0.1.0")
                .body(body.clone());
            let (message, asked) = match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    let (status, asked) = (answer.status(), retry_after(answer.headers()));
                    let quoted = answer.bytes().await.unwrap_or_default();
                    let message =
                        said(status, &text::shorten(&String::from_utf8_lossy(&quoted), QUOTE_MAX));
                    if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
                        return Err(format!("{url} {message}"));
                    }
                    (message, asked)
                }
                Err(error) => (words(&error, self.timeout), None),
            };
            tries += 1;
            if tries >= self.attempts_max {
                return Err(format!("{url} {message} (tries: {tries})"));
            }
            self.pause(tries, asked).await;
        }
    }
}

fn is_no_post(status: StatusCode) -> bool {
    matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}

fn said(status: StatusCode, message: &str) -> String {
    let hint = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            " (basic_auth or authorization say who asks)"
        }
        StatusCode::NOT_FOUND => " (is the path in the URL right?)",
        _ if status.is_redirection() => " (redirects are not followed)",
        _ => "",
    };
    format!("answered {status}{hint}: {message}")
}

/// `Retry-After` in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// An error and its causes in one line, without the URL: a query may hold secrets.
fn words(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no whole answer within {} ms", timeout.as_millis());
    }
    let mut cause = std::error::Error::source(error);
    let mut words = Vec::new();
    while let Some(error) = cause {
        words.push(error.to_string());
        cause = error.source();
    }
    match words.last() {
        Some(last) => format!("no answer: {last}"),
        None => "no answer".to_owned(),
    }
}
