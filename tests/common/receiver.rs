//! An HTTP server that keeps what it receives: the target of callbacks and of webhook pages.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use super::{eventually, wait::ensure};

/// One request.
#[derive(Clone)]
pub struct Received {
    /// When its body was there.
    pub at: Instant,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Received {
    /// A header's text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

#[derive(Clone)]
struct Shared {
    received: Arc<Mutex<Vec<Received>>>,
    open: watch::Sender<bool>,
}

/// The server. Dropped, it stops.
pub struct Receiver {
    address: SocketAddr,
    shared: Shared,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Starts it; it answers 200 at once, and what comes to `/refused/503…` with that status; 429 asks
    /// to wait for four seconds.
    pub async fn start() -> Self {
        Self::start_gated(true).await
    }

    /// Starts it; while the gate is shut, requests are kept but not answered.
    pub async fn start_gated(open: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let shared = Shared { received: Arc::default(), open: watch::channel(open).0 };
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serve");
        });
        Self { address, shared, task }
    }

    /// The URL of a path of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Lets waiting and coming requests be answered.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }

    /// What came to this path so far.
    pub fn at(&self, path: &str) -> Vec<Received> {
        let received = self.shared.received.lock().expect("no holder panicked");
        received.iter().filter(|request| request.path == path).cloned().collect()
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<Received> {
        self.shared.received.lock().expect("no holder panicked").clone()
    }

    /// Waits until `count` requests came to this path.
    pub async fn wait(&self, path: &str, count: usize, within: Duration) -> Vec<Received> {
        eventually(&format!("{count} requests at {path}"), within, async || {
            let received = self.at(path);
            ensure(received.len() >= count, || format!("there are {}", received.len()))?;
            Ok(received)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap) {
    let path = uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let refusal = path.strip_prefix("/refused/").and_then(|rest| rest.get(..3)?.parse().ok());
    let answer = refusal.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::OK);
    let request = Received { at: Instant::now(), path, headers, body };
    shared.received.lock().expect("no holder panicked").push(request);
    // The sender lives in the state, so the wait ends only with the gate.
    let _ = shared.open.subscribe().wait_for(|open| *open).await;
    let mut asked = HeaderMap::new();
    if answer == StatusCode::TOO_MANY_REQUESTS {
        asked.insert("retry-after", axum::http::HeaderValue::from_static("4"));
    }
    (answer, asked)
}
