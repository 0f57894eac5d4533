//! What an HTTP answer tells besides good or bad: facts named as blackbox_exporter names them, and the
//! variables of assertions.

use ::http::{Version, header::CONTENT_LENGTH, response::Parts};
use serde_json::{Map, Value};

use super::http_time;
use crate::probe::Stopwatch;

/// All facts that there are even when nothing answers, so that a series never ends.
pub(super) fn begin(watch: &mut Stopwatch) {
    for name in [
        "probe_http_status_code",
        "probe_http_content_length",
        "probe_http_uncompressed_body_length",
        "probe_http_redirects",
        "probe_http_ssl",
        "probe_http_version",
        "probe_failed_due_to_regex",
    ] {
        watch.fact(name, 0.0);
    }
    watch.tell_phases_as("probe_http_duration_seconds");
}

/// What the head tells.
pub(super) fn of_head(head: &Parts, tls: bool, watch: &mut Stopwatch) {
    watch.fact("probe_http_status_code", f64::from(head.status.as_u16()));
    watch.fact(
        "probe_http_version",
        match head.version {
            Version::HTTP_10 => 1.0,
            Version::HTTP_2 => 2.0,
            _ => 1.1,
        },
    );
    watch.fact("probe_http_ssl", f64::from(u8::from(tls)));
    let length = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse().ok());
    let is_empty = matches!(head.status.as_u16(), 204 | 304);
    watch.fact("probe_http_content_length", length.unwrap_or(if is_empty { 0.0 } else { -1.0 }));
    if let Some(seconds) = http_time(&head.headers) {
        watch.fact("probe_http_last_modified_timestamp_seconds", seconds as f64);
    }
    if watch.exposes() {
        let mut headers = Map::new();
        for (name, value) in &head.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            match headers.get_mut(name.as_str()) {
                // As one line, as RFC 9110 §5.2 reads them.
                Some(Value::String(known)) => *known = format!("{known}, {value}"),
                _ => {
                    headers.insert(name.as_str().to_owned(), value.into());
                }
            }
        }
        watch.expose("status", head.status.as_u16());
        watch.expose("version", super::version_name(head.version));
        watch.expose("headers", headers);
    }
}

/// What the body tells, once it is no longer compressed.
pub(super) fn of_body(body: &[u8], watch: &mut Stopwatch) {
    watch.fact("probe_http_uncompressed_body_length", body.len() as f64);
    if watch.exposes() {
        watch.expose("json", serde_json::from_slice::<Value>(body).unwrap_or(Value::Null));
        watch.expose("body", String::from_utf8_lossy(body).into_owned());
    }
}
