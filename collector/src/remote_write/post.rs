//! Sends one request, again and again until it is taken or will never be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER},
};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};
use watchkeep_catalog::access::Credentials;

use crate::{access::HttpClient, metrics::ReceiverMetrics};

/// Longest pause that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// How much of an answer's words is logged.
const WORDS_BYTES_MAX: usize = 300;

/// How requests are sent to one receiver.
#[derive(Debug)]
pub(super) struct Post {
    /// Its name, for the log.
    pub(super) id: String,
    pub(super) client: Arc<HttpClient>,
    pub(super) headers: HeaderMap,
    pub(super) credentials: Arc<Credentials>,
    /// Whether it is a node, whose web configuration may for a while be another than ours.
    pub(super) is_node: bool,
    /// Where; none while it is away, and nobody knows where it will be.
    pub(super) url: watch::Receiver<Option<String>>,
    pub(super) min_backoff: Duration,
    pub(super) max_backoff: Duration,
    pub(super) metrics: ReceiverMetrics,
    /// Whether the last try failed: what lasts is logged once.
    pub(super) failing: AtomicBool,
}

/// What one try came to.
enum Tried {
    Sent,
    /// Another try is of no use.
    Refused(String),
    /// And how long the receiver asks to wait.
    Failed(String, Option<Duration>),
}

impl Post {
    /// Sends a body of `samples` samples until there is a final answer, which is counted.
    pub(super) async fn send(self: Arc<Self>, body: Bytes, samples: u64) {
        let mut pause = self.min_backoff;
        let mut url = self.url.clone();
        loop {
            // An error: nobody is left who could name a place. The task is about to end.
            let Ok(target) = url.wait_for(Option::is_some).await.map(|u| (*u).clone()) else {
                return std::future::pending().await;
            };
            let target = target.unwrap_or_default();
            let (cause, asked) = match self.attempt(&target, body.clone()).await {
                Tried::Sent => {
                    if self.failing.swap(false, Ordering::Relaxed) {
                        info!(receiver = %self.id, "remote write works again");
                    }
                    self.metrics.sent.inc_by(samples);
                    return;
                }
                Tried::Refused(cause) => {
                    warn!(receiver = %self.id, %cause, samples, "remote write refused");
                    self.metrics.refused.inc_by(samples);
                    return;
                }
                Tried::Failed(cause, asked) => (cause, asked),
            };
            self.metrics.retried.inc_by(samples);
            if !self.failing.swap(true, Ordering::Relaxed) {
                warn!(receiver = %self.id, %cause, "remote write failed, trying again");
            }
            tokio::select! {
                () = sleep(asked.unwrap_or(pause).min(RETRY_AFTER_MAX)) => {}
                // It is somewhere else now.
                Ok(()) = url.changed() => {}
            }
            pause = (pause * 2).min(self.max_backoff);
        }
    }

    async fn attempt(&self, url: &str, body: Bytes) -> Tried {
        let mut headers = self.headers.clone();
        headers.extend(self.credentials.header().map(|value| (AUTHORIZATION, value)));
        let request = self
            .client
            .current()
            .post(url)
            .headers(headers)
            .header(CONTENT_ENCODING, "snappy")
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .body(body);
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Tried::Failed(words(&error), None),
        };
        let status = answer.status();
        if status.is_success() {
            return Tried::Sent;
        }
        let asked = answer.headers().get(RETRY_AFTER).and_then(|v| retry_after(v, Utc::now()));
        let said = answer.chunk().await.ok().flatten().unwrap_or_default();
        let said = String::from_utf8_lossy(&said[..said.len().min(WORDS_BYTES_MAX)]);
        let cause = format!("status {}: {}", status.as_u16(), said.trim());
        let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        if is_passing || self.is_node && is_other_configuration(status, &said) {
            Tried::Failed(cause, asked)
        } else {
            Tried::Refused(cause)
        }
    }
}

/// Whether a node answers so while its web configuration has changed and ours has not, or the other way round: it knows no such
/// user, or speaks TLS now.
fn is_other_configuration(status: StatusCode, said: &str) -> bool {
    match status {
        StatusCode::UNAUTHORIZED => true,
        StatusCode::BAD_REQUEST => said.trim_end().ends_with("to an HTTPS server."),
        _ => false,
    }
}

/// `Retry-After`: seconds, or a time.
fn retry_after(value: &HeaderValue, now: DateTime<Utc>) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = DateTime::parse_from_rfc2822(text).ok()?;
    (then.to_utc() - now).to_std().ok()
}

/// An error and its causes in one line, without the URL.
fn words(error: &reqwest::Error) -> String {
    let text = if error.is_timeout() { "no answer in time" } else { "no answer" };
    match std::error::Error::source(error) {
        Some(cause) => format!("{text}: {}", watchkeep_catalog::causes(cause)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, extract::Request, routing::any};

    use super::*;
    use crate::{
        metrics::Metrics,
        remote_write::{RemoteWriteConfig, config::Way},
    };

    /// Serves it, and says where.
    async fn served(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://{}/write", listener.local_addr().expect("address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn post(way: Way, url: &str) -> Arc<Post> {
        let metrics = Metrics::new(&prometheus::Registry::new()).expect("metrics");
        Arc::new(Post {
            id: "p".to_owned(),
            client: way.client,
            headers: way.headers,
            credentials: way.credentials,
            is_node: way.is_node,
            url: watch::channel(Some(url.to_owned())).1,
            min_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(1),
            metrics: metrics.receiver("p"),
            failing: AtomicBool::new(false),
        })
    }

    /// A receiver that has another token from one moment to the next is sent it.
    #[tokio::test]
    async fn a_replaced_token_is_sent() {
        let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let router = Router::new().fallback(any(move |request: Request| async move {
            let who = request.headers().get(AUTHORIZATION).cloned();
            let _ = sender.send(who.and_then(|value| value.to_str().map(str::to_owned).ok()));
            StatusCode::NO_CONTENT
        }));
        let url = served(router).await;
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("token");
        std::fs::write(&file, "one").expect("written");
        let config: RemoteWriteConfig = serde_json::from_value(serde_json::json!({
            "name": "p", "url": url, "authorization": {"credentials_file": file},
        }))
        .expect("fits");
        let post = post(config.way().expect("right"), &url);
        post.clone().send(Bytes::new(), 1).await;
        std::fs::write(&file, "two").expect("written");
        post.send(Bytes::new(), 1).await;
        let mut next = async || heard.recv().await.flatten();
        assert_eq!(next().await.as_deref(), Some("Bearer one"));
        assert_eq!(next().await.as_deref(), Some("Bearer two"));
    }

    /// A node's users change one node after the other, and nothing is lost meanwhile.
    #[tokio::test]
    async fn a_node_that_does_not_know_us_yet_is_asked_again() {
        for (status, said, is_node, sent) in [
            (401, "who?", true, 7),
            (400, "Client sent an HTTP request to an HTTPS server.\n", true, 7),
            (400, "out of order", true, 0),
            (401, "who?", false, 0),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let first = Arc::new(AtomicBool::new(true));
            let next = move || {
                let is_first = first.swap(false, Ordering::Relaxed);
                async move { if is_first { (status, said) } else { (StatusCode::OK, "") } }
            };
            let url = served(Router::new().fallback(any(next))).await;
            let config: RemoteWriteConfig =
                serde_json::from_value(serde_json::json!({"name": "p", "url": url})).expect("fits");
            let post = post(Way { is_node, ..config.way().expect("right") }, &url);
            post.clone().send(Bytes::new(), 7).await;
            assert_eq!(post.metrics.sent.get(), sent, "{status} {said} {is_node}");
            assert_eq!(post.metrics.refused.get(), 7 - sent, "{status} {said} {is_node}");
        }
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = DateTime::parse_from_rfc3339("2026-01-05T09:00:00Z").expect("a time").to_utc();
        for (text, seconds) in [
            ("7", Some(7)),
            ("Mon, 05 Jan 2026 09:00:30 GMT", Some(30)),
            ("Mon, 05 Jan 2026 08:00:00 GMT", None),
            ("soon", None),
        ] {
            let value = HeaderValue::from_static(text);
            assert_eq!(retry_after(&value, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
