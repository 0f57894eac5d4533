//! The real Prometheus: started, filled by remote write, asked.

use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use ureq::Agent;
use watchkeep_series::Points;

use crate::{generate::Query, request::write_request};

#[path = "../../../../tests/common/ports.rs"]
mod ports;

/// Attempts to reach it, 50 ms apart.
const ATTEMPTS_MAX: u32 = 600;

/// Dropped, it is killed.
pub(crate) struct Prometheus {
    agent: Agent,
    base: String,
    process: Child,
    dir: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Starts one that holds these series.
    pub(crate) fn with(series: &[Points]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("prometheus.yml");
        fs::write(&config, "global: {evaluation_interval: 1m}\n").expect("its configuration");
        let address = format!("127.0.0.1:{}", ports::free());
        let log = File::create(dir.path().join("log")).expect("its log");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--storage.tsdb.retention.time=100y")
            .arg("--web.enable-remote-write-receiver")
            .arg("--enable-feature=native-histograms")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)));
        let agent = settings.build().into();
        let prometheus = Self { agent, base: format!("http://{address}"), process, dir };
        prometheus.wait_until_ready();
        for batch in series.chunks(50) {
            prometheus.write(batch);
        }
        prometheus
    }

    fn wait_until_ready(&self) {
        for _ in 0..ATTEMPTS_MAX {
            let answer = self.agent.get(format!("{}/-/ready", self.base)).call();
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("prometheus does not get ready:\n{log}");
    }

    fn write(&self, series: &[Points]) {
        let body = snap::raw::Encoder::new().compress_vec(&write_request(series)).expect("fits");
        let mut answer = self
            .agent
            .post(format!("{}/api/v1/write", self.base))
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .send(&body)
            .expect("an answer to a write");
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        assert!(answer.status().is_success(), "remote write: {} {text}", answer.status());
    }

    /// `data` of its answer, or its error.
    pub(crate) fn ask(&self, query: &Query) -> Result<Value, String> {
        let seconds = |ms: i64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
        let text = query.text.replace("double_exponential_smoothing(", "holt_winters(");
        let (path, mut form) = match query.range {
            None => ("query", vec![("time", seconds(query.at_ms))]),
            Some((from_ms, step_ms)) => (
                "query_range",
                vec![
                    ("start", seconds(from_ms)),
                    ("end", seconds(query.at_ms)),
                    ("step", seconds(step_ms)),
                ],
            ),
        };
        form.push(("query", text));
        let mut answer = self
            .agent
            .post(format!("{}/api/v1/{path}", self.base))
            .send_form(form.iter().map(|(name, value)| (*name, value.as_str())))
            .expect("an answer to a query");
        let body =
            answer.body_mut().with_config().limit(1 << 26).read_to_string().expect("its body");
        let mut answer: Value = serde_json::from_str(&body).expect("JSON");
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].as_str().unwrap_or(&body).to_owned()),
        }
    }
}
