//! What stands behind the `?` of a request; and what a reader of services and instances may ask for: `?healthy=`, `?stale=`,
//! `?index=&wait=`, and a stream of events.

use std::time::Duration;

use axum::{
    extract::{self, FromRequestParts},
    http::{header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use watchkeep_alerting::wrong_query;

use super::problem::Problem;

/// How long a request waits for a change when it does not say so.
const WAIT_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// A stream's comments when nothing happens, in seconds: the default, the shortest and the longest pause.
const HEARTBEAT_SECONDS: (u64, u64, u64) = (15, 1, 300);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    healthy: Option<bool>,
    stale: Option<bool>,
    index: Option<i64>,
    wait: Option<String>,
    heartbeat_seconds: Option<u64>,
}

/// A reader's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Only instances that are not critical, or only those that are.
    pub(super) healthy: Option<bool>,
    /// Answer from memory.
    pub(super) stale: bool,
    /// Wait until something is newer than this.
    pub(super) index: Option<i64>,
    /// For so long at most.
    pub(super) wait: Duration,
    /// `Accept: text/event-stream`.
    pub(super) stream: bool,
    /// Between a stream's comments.
    pub(super) heartbeat: Duration,
    /// `Last-Event-ID`: what a stream has delivered already.
    pub(super) last_event: Option<i64>,
}

impl Asked {
    /// Whether the answer comes from memory; else the registry is asked.
    pub(super) fn is_from_memory(&self) -> bool {
        self.stale || self.index.is_some()
    }

    fn read(raw: Raw, accept: &str, last_event: Option<&str>) -> Result<Self, String> {
        let wait = match raw.wait.as_deref() {
            None => WAIT_DEFAULT,
            Some(text) => duration(text)
                .ok_or_else(|| format!("wait is {text:?}: write it as 500ms, 30s or 5m"))?,
        };
        if raw.index.is_some_and(|index| index < 0) {
            return Err("index is negative: give what X-Watchkeep-Index said, or 0".to_owned());
        }
        let (default, min, max) = HEARTBEAT_SECONDS;
        let heartbeat = raw.heartbeat_seconds.unwrap_or(default);
        if !(min..=max).contains(&heartbeat) {
            return Err(format!("heartbeat_seconds is {heartbeat}: give {min} to {max}"));
        }
        let last_event = match last_event {
            None => None,
            Some(id) => Some(id.parse().map_err(|_| {
                format!("Last-Event-ID is {id:?}: give the id of an event of this stream, or none")
            })?),
        };
        Ok(Self {
            healthy: raw.healthy,
            stale: raw.stale.unwrap_or(false),
            index: raw.index,
            wait: wait.min(WAIT_MAX),
            stream: accept.split(',').any(|part| part.trim().starts_with("text/event-stream")),
            heartbeat: Duration::from_secs(heartbeat),
            last_event,
        })
    }
}

/// `500ms`, `30s`, `5m`, `1h`, or seconds without a unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok().filter(|n| *n <= 1_000_000_000)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        "h" => Some(Duration::from_secs(number * 3600)),
        _ => None,
    }
}

/// The query of a request; what is wrong there is told by name and value.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match extract::Query::try_from_uri(&parts.uri) {
            Ok(extract::Query(asked)) => Ok(Self(asked)),
            Err(error) => {
                let query = parts.uri.query().unwrap_or_default();
                Err(Problem::bad_request(wrong_query(query, &error.body_text())))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(raw) = Query::<Raw>::from_request_parts(parts, state).await?;
        let text = |name| parts.headers.get(name).and_then(|v| v.to_str().ok());
        let accept = text(header::ACCEPT).unwrap_or_default();
        let last_event = text(header::HeaderName::from_static("last-event-id"));
        Self::read(raw, accept, last_event).map_err(Problem::bad_request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_and_bounded() {
        for (text, expected) in [
            ("500ms", Some(Duration::from_millis(500))),
            ("30s", Some(Duration::from_secs(30))),
            ("7", Some(Duration::from_secs(7))),
            ("2m", Some(Duration::from_secs(120))),
            ("1h", Some(WAIT_MAX)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("5 m", None),
            ("99999999999999999999s", None),
        ] {
            let raw = Raw { wait: Some(text.to_owned()), ..Raw::default() };
            assert_eq!(Asked::read(raw, "", None).ok().map(|a| a.wait), expected, "{text}");
        }
        let asked = Asked::read(Raw::default(), "text/html, text/event-stream;q=1", Some("7"));
        let asked = asked.expect("right");
        assert_eq!((asked.wait, asked.stream, asked.last_event), (WAIT_DEFAULT, true, Some(7)));
        assert!(Asked::read(Raw::default(), "", Some("x")).is_err());
        let negative = Raw { index: Some(-1), ..Raw::default() };
        assert!(Asked::read(negative, "", None).is_err());
    }
}
