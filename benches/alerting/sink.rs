//! The receiver: it notes when each alert came, and under which key, and does nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap};
use tokio::{sync::mpsc, task::JoinHandle};

/// Before the number of an alert in a webhook's body.
const MARK: &[u8] = b"\"alertname\":\"A";
/// Who waits longer for a webhook waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);

struct Notice {
    alert: u64,
    at: Instant,
    key: String,
}

/// What came of one alert.
#[derive(Default, Clone)]
pub(crate) struct Told {
    /// When it was told first.
    pub(crate) first: Option<Instant>,
    /// Requests.
    pub(crate) requests: u64,
    /// Their idempotency keys; a request without one counts as a key of its own.
    pub(crate) keys: BTreeSet<String>,
}

pub(crate) struct Sink {
    address: SocketAddr,
    notices: mpsc::UnboundedReceiver<Notice>,
    told: BTreeMap<u64, Told>,
    task: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (sender, notices) = mpsc::unbounded_channel();
        let router = Router::new().fallback(take).with_state(sender);
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("serve");
        });
        Self { address, notices, told: BTreeMap::new(), task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Waits until all of these have been told of; when the last one was.
    pub(crate) async fn wait(&mut self, alerts: std::ops::Range<u64>) -> Instant {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let missing = |told: &BTreeMap<u64, Told>| {
            let count = usize::try_from(alerts.end - alerts.start).expect("a small number");
            count - told.range(alerts.clone()).count()
        };
        while missing(&self.told) > 0 {
            let notice = tokio::time::timeout_at(deadline, self.notices.recv()).await;
            let notice = notice.unwrap_or_else(|_| {
                panic!("{} alerts not told of within {PATIENCE:?}", missing(&self.told))
            });
            self.enter(notice.expect("the server runs"));
        }
        let times = self.told.range(alerts).filter_map(|(_, told)| told.first);
        times.max().expect("at least one alert")
    }

    /// What has come so far.
    pub(crate) fn told(&mut self) -> &BTreeMap<u64, Told> {
        while let Ok(notice) = self.notices.try_recv() {
            self.enter(notice);
        }
        &self.told
    }

    fn enter(&mut self, Notice { alert, at, key }: Notice) {
        let told = self.told.entry(alert).or_default();
        told.first.get_or_insert(at);
        told.requests += 1;
        let key = if key.is_empty() { format!("request {}", told.requests) } else { key };
        told.keys.insert(key);
    }
}

async fn take(State(sender): State<mpsc::UnboundedSender<Notice>>, head: HeaderMap, body: Bytes) {
    let at = Instant::now();
    let key = head.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let found = body.windows(MARK.len()).position(|window| window == MARK);
    let digits = body.iter().skip(found.expect("an alert's name") + MARK.len());
    let alert = digits
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |number, byte| number * 10 + u64::from(byte - b'0'));
    // Nobody listens when the measurement is over.
    let _ = sender.send(Notice { alert, at, key: key.to_owned() });
}
