//! A real Prometheus on the other side of remote write, in both directions: either side is restarted and killed in the
//! middle, and every sample is there in the end, none twice. What is sent was scraped from an instance's own page.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing};
use serde_json::{Value, json};
use tempfile::TempDir;
use watchkeep_series::{Matcher, Options, SeriesStore};

use crate::common::{Cluster, Node, eventually, http, ports, process::Process, wait::ensure};

const SOON: Duration = Duration::from_secs(30);
/// Between two scrapes.
const INTERVAL_MS: u64 = 200;
const METRIC: &str = "demo_requests_total";
/// The value that ends a series.
const STALE: u64 = 0x7ff0_0000_0000_0002;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_scraped_reaches_prometheus_through_restarts_of_both() {
    let dir = TempDir::new().expect("temporary folder");
    let page = Page::start().await;
    let mut prometheus = Prometheus::new(dir.path(), "", &["--web.enable-remote-write-receiver"]);
    prometheus.start();
    let queue = json!({"batch_send_deadline_ms": 100, "min_backoff_ms": 50, "max_backoff_ms": 300,
                       "max_samples_per_send": 20, "max_shards": 3});
    let only =
        json!([{"source_labels": ["__name__"], "regex": format!("{METRIC}|up"), "action": "keep"}]);
    let drop = json!([{"source_labels": ["__name__"], "regex": "demo_secret", "action": "drop"}]);
    let collector = json!({
        "remote_write": [{"name": "prometheus", "url": prometheus.url("/api/v1/write"), "queue": queue,
                          "write_relabel_configs": only}],
        "scrape_configs": [{"job_name": "demo", "tags": ["metrics"], "interval_ms": INTERVAL_MS,
                            "timeout_ms": INTERVAL_MS, "metric_relabel_configs": drop}],
    });
    let mut cluster = Cluster::start(1, &[("collector", collector)]).await;
    let node = &mut cluster.nodes[0];
    let instance =
        json!({"id": "d1", "address": "127.0.0.1", "port": page.port, "tags": ["metrics"]});
    node.register("demo", &instance).await;
    prometheus.has(5).await;

    // It is killed: what was acknowledged is in its log. Samples wait, and survive an end of ours in order.
    prometheus.stop("-KILL");
    waiting(node, |n| n >= 8.0).await;
    restart(node, "-TERM").await;
    waiting(node, |n| n >= 12.0).await;
    prometheus.start();
    waiting(node, |n| n <= 3.0).await;
    let before = prometheus.samples().await.expect("samples").len();
    prometheus.has(before + 5).await;
    prometheus.stop("-TERM");
    waiting(node, |n| n >= 4.0).await;
    prometheus.start();
    prometheus.has(before + 12).await;

    let path = "/v1/services/demo/instances/d1";
    http::any(reqwest::Method::DELETE, &node.url(path), None).await;
    let last = Mutex::new(BTreeSet::new());
    eventually("the queue is empty", SOON, async || {
        let (now, waits) = (page.served.load(Ordering::Relaxed), queue_length(node).await?);
        let there = prometheus.samples().await?;
        let same =
            last.lock().is_ok_and(|mut last| std::mem::replace(&mut *last, there.clone()) == there);
        ensure(waits == 0.0 && same, || format!("{waits} wait, {now} pages served"))
    })
    .await;
    let all = last.into_inner().expect("nobody panicked");
    node.process().terminate();
    node.process().wait(SOON);
    let kept = kept(node);
    let lost: Vec<_> = kept.difference(&all).collect();
    assert!(lost.is_empty(), "lost: {lost:?} of {}", kept.len());
    assert_eq!(all.len(), kept.len(), "Prometheus has what was never measured");
    assert!(kept.len() > 20, "{kept:?}");
    eprintln!("{} samples scraped, all of them in Prometheus", kept.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_writes_is_kept_through_restarts_of_both() {
    let dir = TempDir::new().expect("temporary folder");
    let page = Page::start().await;
    let mut cluster = Cluster::start(1, &[]).await;
    let node = &mut cluster.nodes[0];
    let configuration = format!(
        "global: {{scrape_interval: {INTERVAL_MS}ms, scrape_timeout: {INTERVAL_MS}ms}}\n\
         scrape_configs:\n- job_name: demo\n  static_configs:\n  - targets: ['127.0.0.1:{}']\n\
         remote_write:\n- url: {}\n  queue_config: {{batch_send_deadline: 100ms, min_backoff: 30ms, max_backoff: 200ms}}\n",
        page.port,
        node.url("/api/v1/write")
    );
    let mut prometheus = Prometheus::new(dir.path(), &configuration, &[]);
    prometheus.start();
    received(node, 20.0).await;
    page.serves_more(8).await;
    // Killed right after it acknowledged something.
    node.kill();
    page.serves_more(5).await;
    node.start();
    node.ready().await;
    received(node, 30.0).await;
    page.serves_more(8).await;
    // Prometheus sends what it has before it ends, as long as somebody listens.
    page.rests().await;
    prometheus.stop("-TERM");
    page.wakes();
    prometheus.start();
    restart(node, "-TERM").await;
    received(node, 30.0).await;
    page.serves_more(8).await;
    page.rests().await;
    prometheus.stop("-TERM");
    node.process().terminate();
    node.process().wait(SOON);

    let (sent, kept) = (prometheus.dump(), kept(node));
    let lost: Vec<_> = sent.difference(&kept).collect();
    assert!(lost.is_empty(), "lost: {lost:?} of {}", sent.len());
    assert_eq!(sent.len(), kept.len(), "kept is what was never sent");
    assert!(sent.len() > 12, "{sent:?}");
    eprintln!("{} samples written by Prometheus, all of them kept", sent.len());
}

/// Ends the node, and starts it again.
async fn restart(node: &mut Node, signal: &str) {
    let id = node.process().id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
    node.process().wait(SOON);
    node.kill();
    node.start();
    node.ready().await;
}

async fn metric(node: &Node, begin: &str) -> Result<f64, String> {
    let text = http::text(http::client().get(node.url("/metrics"))).await?;
    let line = text.lines().find(|line| line.starts_with(begin));
    let value = line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value);
    value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {begin}"))
}

async fn queue_length(node: &Node) -> Result<f64, String> {
    metric(node, r#"watchkeep_collector_remote_write_queue_length{receiver="prometheus"}"#).await
}

async fn waiting(node: &Node, enough: impl Fn(f64) -> bool) {
    eventually("samples that wait", SOON, async || {
        let waits = queue_length(node).await?;
        ensure(enough(waits), || format!("{waits} wait"))
    })
    .await;
}

/// Waits until this process of the node has received that many samples.
async fn received(node: &Node, count: f64) {
    eventually("samples from Prometheus", SOON, async || {
        let has = metric(node, "watchkeep_series_samples_appended_total").await?;
        ensure(has >= count, || format!("{has} of {count}"))
    })
    .await;
}

/// Times and values of the metric in the store of a node that has ended.
fn kept(node: &Node) -> BTreeSet<(i64, u64)> {
    let path = node.dir.join("data/series");
    let store = SeriesStore::open(path, Options::default()).expect("the series store");
    let matchers = [Matcher::Equal("__name__".into(), METRIC.into())];
    let series = store.select(&matchers, 0, i64::MAX).expect("samples");
    let samples = series.iter().flat_map(|series| &series.samples);
    let samples = samples.filter(|sample| sample.value.to_bits() != STALE);
    samples.map(|sample| (sample.timestamp_ms, sample.value.to_bits())).collect()
}

/// An instance with a page of metrics: the counter says how often it was served.
struct Page {
    port: u16,
    served: Arc<AtomicU64>,
    /// How often it was refused since it rests, and one; 0: it does not rest.
    rests: Arc<AtomicU64>,
}

impl Page {
    async fn start() -> Self {
        let (served, rests) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (count, refused) = (served.clone(), rests.clone());
        let page = move || async move {
            if refused.load(Ordering::Relaxed) > 0 {
                refused.fetch_add(1, Ordering::Relaxed);
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
            let n = count.fetch_add(1, Ordering::Relaxed);
            Ok(format!(
                "# TYPE {METRIC} counter\n{METRIC}{{path=\"/a \\\"b\\\"\"}} {n}\ndemo_secret 1\n"
            ))
        };
        let port = ports::free();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("bind");
        let router = Router::new().route("/metrics", routing::get(page));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, served, rests }
    }

    /// Waits until it was served that many times from now on.
    async fn serves_more(&self, count: u64) {
        self.serves(self.served.load(Ordering::Relaxed) + count).await;
    }

    /// Gives nothing more until [`Self::wakes`]; returns after it was asked in vain a few times. A Prometheus that ends does
    /// not send on what it scraped in that very moment.
    async fn rests(&self) {
        self.rests.store(1, Ordering::Relaxed);
        eventually("pages refused", SOON, async || {
            let refused = self.rests.load(Ordering::Relaxed);
            ensure(refused > 5, || format!("{refused} of 5"))
        })
        .await;
    }

    fn wakes(&self) {
        self.rests.store(0, Ordering::Relaxed);
    }

    async fn serves(&self, count: u64) {
        eventually("pages served", SOON, async || {
            let served = self.served.load(Ordering::Relaxed);
            ensure(served >= count, || format!("{served} of {count}"))
        })
        .await;
    }
}

/// A Prometheus that can be ended and started again.
struct Prometheus {
    address: String,
    dir: PathBuf,
    flags: Vec<String>,
    process: Option<Process>,
}

impl Prometheus {
    fn new(dir: &Path, configuration: &str, flags: &[&str]) -> Self {
        let file = dir.join("prometheus.yml");
        fs::write(&file, configuration).expect("Prometheus's configuration");
        let address = format!("127.0.0.1:{}", ports::free());
        let flags = flags.iter().map(|flag| (*flag).to_owned()).chain([
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.join("tsdb").display()),
            format!("--web.listen-address={address}"),
        ]);
        Self { address, dir: dir.to_owned(), flags: flags.collect(), process: None }
    }

    fn start(&mut self) {
        let mut command = Command::new("prometheus");
        command.args(&self.flags);
        self.process = Some(Process::spawn("prometheus", command, &self.dir.join("log")));
    }

    fn stop(&mut self, signal: &str) {
        let mut process = self.process.take().expect("it runs");
        let id = process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
        process.wait(SOON);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Times and values of the metric, as its API has them.
    async fn samples(&self) -> Result<BTreeSet<(i64, u64)>, String> {
        let query = [("query", format!("{METRIC}[1h]"))];
        let request = http::client().get(self.url("/api/v1/query")).query(&query);
        let answer: Value = http::json(request).await?;
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        for one in &series {
            let labels = json!({"__name__": METRIC, "path": "/a \"b\"", "job": "demo", "service": "demo", "instance": "d1"});
            ensure(one["metric"] == labels, || one["metric"].to_string())?;
        }
        let points =
            series.iter().flat_map(|one| one["values"].as_array().cloned().unwrap_or_default());
        let points = points.filter_map(|point| {
            let value: f64 = point[1].as_str()?.parse().ok()?;
            Some(((point[0].as_f64()? * 1e3).round() as i64, value.to_bits()))
        });
        Ok(points.collect())
    }

    async fn has(&self, count: usize) {
        eventually("samples in Prometheus", SOON, async || {
            let has = self.samples().await?.len();
            ensure(has >= count, || format!("{has} of {count}"))
        })
        .await;
    }

    /// Times and values of the metric in its database, after its end.
    fn dump(&self) -> BTreeSet<(i64, u64)> {
        let output = Command::new("promtool")
            .args(["tsdb", "dump"])
            .arg(self.dir.join("tsdb"))
            .output()
            .expect("promtool");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines = text.lines().filter(|line| line.contains(METRIC));
        let samples = lines.filter_map(|line| {
            let (rest, time) = line.rsplit_once(' ')?;
            let value: f64 = rest.rsplit_once(' ')?.1.parse().ok()?;
            Some((time.parse().ok()?, value.to_bits())).filter(|_| !value.is_nan())
        });
        samples.collect()
    }
}
