//! A real Prometheus that scrapes nodes each second, and promtool's judgement of a metrics page.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{Node, eventually, http, ports, process::Process, wait::ensure};

/// Prometheus. Dropped, it is killed.
pub struct Prometheus {
    address: String,
    process: Process,
}

impl Prometheus {
    /// Starts it with every node as a target of the job `watchkeep`, and waits until it has scraped all.
    pub async fn start(dir: &Path, nodes: &[Node]) -> Self {
        let targets: Vec<String> = nodes.iter().map(|node| format!("'{}'", node.http)).collect();
        let prometheus =
            Self::with_job(dir, &format!("static_configs:\n  - targets: [{}]", targets.join(", ")));
        eventually("all targets are scraped", Duration::from_secs(60), async || {
            let up = prometheus.get("query", &[("query", "count(up == 1)")]).await?;
            let up = up["result"][0]["value"][1].as_str().unwrap_or("0").to_owned();
            ensure(up == nodes.len().to_string(), || format!("{up} of {}", nodes.len()))
        })
        .await;
        prometheus
    }

    /// Starts it with the job `watchkeep`, which is said by these lines of YAML, and waits for nothing.
    pub fn with_job(dir: &Path, job: &str) -> Self {
        let dir = dir.join("prometheus");
        fs::create_dir(&dir).expect("Prometheus's folder");
        let configuration = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: watchkeep\n  {job}\n"
        );
        let file = dir.join("prometheus.yml");
        fs::write(&file, configuration).expect("Prometheus's configuration");
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        Self { address, process: Process::spawn("prometheus", command, &dir.join("log")) }
    }

    /// Starts it over the database in the folder `data` below `dir`; it scrapes nothing.
    pub fn over(dir: &Path, data: &str) -> Self {
        let file = dir.join("prometheus.yml");
        fs::write(&file, "global: {scrape_interval: 1m}\n").expect("Prometheus's configuration");
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join(data).display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::spawn("prometheus", command, &dir.join("prometheus.log"));
        Self { address, process }
    }

    /// Waits until it answers.
    pub async fn is_ready(&self) {
        eventually("Prometheus answers", Duration::from_secs(60), async || {
            self.get("query", &[("query", "vector(1)")]).await.map(drop)
        })
        .await;
    }

    /// `data` of an answer of its API: `get("query", &[("query", "up")])`.
    ///
    /// # Errors
    /// When the query is refused.
    pub async fn get(&self, call: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        ask(&self.address, call, query).await
    }

    /// Its `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// `data` of an answer of Prometheus's API at `address`, whoever speaks it.
///
/// # Errors
/// When the query is refused.
pub async fn ask(address: &str, call: &str, query: &[(&str, &str)]) -> Result<Value, String> {
    let url = format!("http://{address}/api/v1/{call}");
    let answer = http::json(http::client().get(url).query(query)).await?;
    ensure(answer["status"] == "success", || answer.to_string())?;
    Ok(answer["data"].clone())
}

/// Names that are etcd's and that promtool would have otherwise: dashboards know them as they are.
const ETCDS: [&str; 10] = [
    "etcd_debugging_lease_ttl_total",
    "etcd_debugging_mvcc_keys_total",
    "etcd_debugging_mvcc_pending_events_total",
    "etcd_debugging_mvcc_slow_watcher_total",
    "etcd_debugging_mvcc_watch_stream_total",
    "etcd_debugging_mvcc_watcher_total",
    "etcd_server_health_failures",
    "etcd_server_health_success",
    "etcd_server_learner_promote_successes",
    "etcd_server_snapshot_apply_in_progress_total",
];

/// What promtool has against a metrics page, apart from [`ETCDS`]; empty when it is clean.
///
/// # Panics
/// When promtool cannot be started.
pub fn complaints(page: &str) -> String {
    use std::io::Write;
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("promtool: {e}; `cargo xtask peers` installs it"));
    child.stdin.take().expect("piped").write_all(page.as_bytes()).expect("write");
    let output = child.wait_with_output().expect("wait");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let is_etcds =
        |line: &str| line.split_whitespace().next().is_some_and(|name| ETCDS.contains(&name));
    let others: Vec<&str> = said.lines().filter(|line| !is_etcds(line)).collect();
    // promtool ends with 3 when it has read the page and dislikes something in it.
    match output.status.code() {
        Some(0 | 3) => others.join("\n"),
        _ => format!("{}: {said}", output.status),
    }
}
