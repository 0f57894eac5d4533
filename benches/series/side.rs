//! One of the two servers, driven in the same way.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};

use super::common::{Cluster, http, ports, process::Process};

/// Clock ticks in a second of `/proc/<pid>/stat`: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;
pub(crate) const NO_RULES: &str = "groups: []\n";

/// A running server.
pub(crate) enum Side {
    /// A node of ours that takes samples: registry and alerting; and its rule file.
    Ours(Box<Cluster>, PathBuf),
    /// Prometheus with its remote-write receiver.
    Theirs { process: Option<Process>, dir: PathBuf, port: u16 },
}

impl Side {
    pub(crate) async fn ours(dir: &Path) -> Self {
        let rules = dir.join("rules.yml");
        fs::write(&rules, NO_RULES).expect("written");
        let sections = [("alerting", json!({"rule_files": [rules]}))];
        let cluster = Cluster::layout_roles(&["registry, alerting"], None, &sections).run().await;
        cluster.nodes[0].ready_http().await;
        Self::Ours(Box::new(cluster), rules)
    }

    pub(crate) async fn theirs(dir: &Path) -> Self {
        let dir = dir.join("prometheus");
        fs::create_dir_all(&dir).expect("folder");
        let configuration = "global: {scrape_interval: 1h}\nrule_files: [rules.yml]\n";
        fs::write(dir.join("prometheus.yml"), configuration).expect("written");
        fs::write(dir.join("rules.yml"), NO_RULES).expect("written");
        let mut side = Self::Theirs { process: None, dir, port: ports::free() };
        side.start();
        while http::get(&side.url("/api/v1/status/buildinfo")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        side
    }

    /// Starts it, without waiting for it.
    pub(crate) fn start(&mut self) {
        match self {
            Self::Ours(cluster, _) => cluster.nodes[0].start(),
            Self::Theirs { process, dir, port } => {
                let mut command = Command::new("prometheus");
                command
                    .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
                    .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
                    .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                    .arg("--web.enable-remote-write-receiver")
                    .arg("--web.enable-lifecycle")
                    .arg("--log.level=warn");
                *process = Some(Process::spawn("prometheus", command, &dir.join("log")));
            }
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Ours(cluster, _) => cluster.nodes[0].kill(),
            Self::Theirs { process, .. } => drop(process.take()),
        }
    }

    fn id(&mut self) -> u32 {
        match self {
            Self::Ours(cluster, _) => cluster.nodes[0].process().id(),
            Self::Theirs { process, .. } => process.as_ref().expect("it runs").id(),
        }
    }

    fn url(&self, path: &str) -> String {
        match self {
            Self::Ours(cluster, _) => cluster.nodes[0].url(path),
            Self::Theirs { port, .. } => format!("http://127.0.0.1:{port}{path}"),
        }
    }

    pub(crate) fn write_url(&self) -> String {
        self.url("/api/v1/write")
    }

    async fn ask(&self, query: &str, at_ms: i64) -> Result<Value, String> {
        let time = format!("{:.3}", at_ms as f64 / 1e3);
        let request = http::client().get(self.url("/api/v1/query"));
        http::json(request.query(&[("query", query), ("time", &time)])).await
    }

    pub(crate) async fn query(&self, query: &str, at_ms: i64) {
        let answer = self.ask(query, at_ms).await.expect("an answer");
        assert_eq!(answer["status"], "success", "{query}: {answer}");
    }

    /// Takes up a rule file.
    pub(crate) async fn load_rules(&self, text: &str) {
        let file = match self {
            Self::Ours(_, rules) => rules.clone(),
            Self::Theirs { dir, .. } => dir.join("rules.yml"),
        };
        fs::write(file, text).expect("written");
        let (status, said) = http::any(Method::POST, &self.url("/-/reload"), None).await;
        assert!(status.is_success(), "{status} {said}");
    }

    /// A metric of a rule group, by the name that both give it; 0 before its first evaluation.
    pub(crate) async fn of_group(&self, name: &str, group: &str) -> f64 {
        let page = http::text(http::client().get(self.url("/metrics"))).await.expect("metrics");
        let (begin, label) = (format!("{name}{{"), format!(";{group}\"}} "));
        let mut lines = page.lines().filter(|line| line.starts_with(&begin));
        let value = lines.find_map(|line| line.split_once(&label));
        value.map_or(0.0, |(_, value)| value.parse().expect("a number"))
    }

    /// Whether there is an answer with a value.
    pub(crate) async fn answers(&self, query: &str, at_ms: i64) -> bool {
        let answer = self.ask(query, at_ms).await;
        answer
            .is_ok_and(|answer| answer["data"]["result"].as_array().is_some_and(|r| !r.is_empty()))
    }

    /// User and system time so far.
    pub(crate) fn cpu_seconds(&mut self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it runs");
        // Behind the name in parentheses: state is the first field, utime and stime the 12th and 13th.
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        let ticks = fields.skip(11).take(2).map(|field| field.parse::<f64>().expect("a number"));
        ticks.sum::<f64>() / TICKS
    }

    pub(crate) fn resident_bytes(&mut self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
        let pages: u64 = line.split_whitespace().nth(1).expect("a number").parse().expect("kB");
        pages * 1024
    }

    fn folder(&self) -> PathBuf {
        match self {
            Self::Ours(cluster, _) => cluster.nodes[0].dir.join("data").join("series"),
            Self::Theirs { dir, .. } => dir.join("data"),
        }
    }

    /// The whole folder of series, journals included.
    pub(crate) fn disk_bytes(&self) -> u64 {
        size(&self.folder(), &|_| true)
    }

    /// Bytes of tables (ours, all rows) over all samples, of blocks (Prometheus) over the samples that are in blocks.
    pub(crate) fn chunk_bytes_per_sample(&self, samples: f64) -> f64 {
        match self {
            Self::Ours(..) => {
                let is_table = |path: &Path| path.extension().is_none_or(|e| e != "jnl");
                size(&self.folder(), &is_table) as f64 / samples
            }
            Self::Theirs { .. } => {
                let (mut bytes, mut inside) = (0, 0.0);
                for entry in fs::read_dir(self.folder()).expect("folder").flatten() {
                    let Ok(meta) = fs::read(entry.path().join("meta.json")) else { continue };
                    let meta: Value = serde_json::from_slice(&meta).expect("JSON");
                    inside += meta["stats"]["numSamples"].as_f64().unwrap_or(0.0);
                    bytes += size(&entry.path(), &|_| true);
                }
                bytes as f64 / inside
            }
        }
    }
}

fn size(path: &Path, counts: &dyn Fn(&Path) -> bool) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let of = |path: PathBuf| match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => size(&path, counts),
        // As allocated: prewritten files count for what they hold on the disk.
        Ok(meta) if counts(&path) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
        _ => 0,
    };
    entries.flatten().map(|entry| of(entry.path())).sum()
}
