//! A receiver of callbacks and webhooks whose answers the test gives, one by one, or never.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

use super::DEADLINE;

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    answer: oneshot::Sender<StatusCode>,
}

impl Hook {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn answer(self, status: u16) {
        // The caller may have gone away meanwhile.
        let _ = self.answer.send(StatusCode::from_u16(status).unwrap());
    }

    /// Checks the signature as the receiver's own code would.
    pub(crate) fn verify(&self, secret: &str) {
        let (id, time) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{id}.{time}.").as_bytes());
        mac.update(&self.body);
        let signature = self.header("webhook-signature").strip_prefix("v1,").unwrap();
        mac.verify_slice(&STANDARD.decode(signature).unwrap()).unwrap();
    }
}

pub(crate) struct Hooks {
    address: SocketAddr,
    hooks: mpsc::UnboundedReceiver<Hook>,
}

impl Hooks {
    pub(crate) async fn start() -> Self {
        let (sender, hooks) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(sender);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, hooks }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Hook {
        let next = tokio::time::timeout(DEADLINE, self.hooks.recv()).await;
        next.expect("a request in time").unwrap()
    }

    /// The next request to a path; what comes to others is taken.
    pub(crate) async fn next_at(&mut self, path: &str) -> Hook {
        loop {
            let hook = self.next().await;
            if hook.path == path {
                return hook;
            }
            hook.answer(200);
        }
    }

    /// A request that is there already.
    pub(crate) fn waiting(&mut self) -> Option<Hook> {
        self.hooks.try_recv().ok()
    }
}

async fn take(
    State(hooks): State<mpsc::UnboundedSender<Hook>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let (answer, answered) = oneshot::channel();
    let _ = hooks.send(Hook { path: uri.path().to_owned(), headers, body, answer });
    answered.await.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
