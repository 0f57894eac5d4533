//! Doors that are not open to all: a real Prometheus that asks for a client certificate and a password is scraped, written
//! to and asked by rules; with a wrong password it is not, and the target says why.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    SOON,
    common::{Cluster, eventually, http, pki::Authority, ports, process::Process, wait::ensure},
};

const USER: &str = "watchkeep";
const PASSWORD: &str = "open sesame";
/// bcrypt's of the password, at the lowest cost.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";

/// A Prometheus behind mutual TLS and a password, and the settings that open it.
struct Guarded {
    port: u16,
    /// `basic_auth` and `tls_config`.
    access: Value,
    _process: Process,
}

impl Guarded {
    fn start(dir: &Path) -> Self {
        let authority = Authority::new(dir, "ca");
        let server = authority.issue(dir, "server", &["127.0.0.1"]);
        let client = authority.issue(dir, "client", &["client"]);
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let web = json!({
            "tls_server_config": {
                "cert_file": server.cert, "key_file": server.key,
                "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": authority.file,
            },
            "basic_auth_users": {USER: HASH},
        });
        // JSON is YAML.
        let web = write("web.yml", &web.to_string());
        let configuration = write("prometheus.yml", "");
        let password = write("password", &format!("{PASSWORD}\n"));
        let port = ports::free();
        let mut command = Command::new("prometheus");
        command.arg("--web.enable-remote-write-receiver");
        command.arg(format!("--web.config.file={}", web.display()));
        command.arg(format!("--config.file={}", configuration.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let access = json!({
            "basic_auth": {"username": USER, "password_file": password},
            "tls_config": {"ca_file": authority.file, "cert_file": client.cert, "key_file": client.key},
        });
        let process = Process::spawn("prometheus", command, &dir.join("log"));
        Self { port, access, _process: process }
    }

    /// Settings, and how to get in.
    fn with(&self, mut settings: Value) -> Value {
        for (field, value) in self.access.as_object().expect("an object") {
            settings[field] = value.clone();
        }
        settings
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_remote_write_and_the_data_source_get_through_a_guarded_door() {
    let dir = TempDir::new().expect("temporary folder");
    let prometheus = Guarded::start(dir.path());
    let base = format!("https://127.0.0.1:{}", prometheus.port);
    let rules = dir.path().join("rules.yml");
    fs::write(
        &rules,
        "groups: [{name: door, interval: 1s, rules: [{alert: Seen, expr: 'prometheus_build_info{job=\"guarded\"}'}]}]\n",
    )
    .expect("written");
    let wrong = dir.path().join("wrong");
    fs::write(&wrong, "sesame").expect("written");
    let build = json!([{"source_labels": ["__name__"], "regex": "prometheus_build_info", "action": "keep"}]);
    let scrape = |name: &str| {
        prometheus.with(json!({
            "job_name": name, "services": ["guarded"], "scheme": "https", "interval_ms": 500,
            "timeout_ms": 500, "metric_relabel_configs": build,
        }))
    };
    let mut refused = scrape("refused");
    refused["basic_auth"]["password_file"] = json!(wrong);
    let collector = json!({
        "scrape_configs": [scrape("guarded"), refused],
        "remote_write": [prometheus.with(json!({
            "name": "guarded", "url": format!("{base}/api/v1/write"),
            "queue": {"batch_send_deadline_ms": 100}, "write_relabel_configs": build,
        }))],
    });
    let alerting = json!({
        "rule_files": [rules],
        "data_source": prometheus.with(json!({"url": base})),
    });
    let cluster = Cluster::start(1, &[("collector", collector), ("alerting", alerting)]).await;
    let node = &cluster.nodes[0];
    let instance = json!({"id": "g1", "address": "127.0.0.1", "port": prometheus.port});
    node.register("guarded", &instance).await;
    eventually("a rule sees what was scraped, by way of Prometheus", SOON, async || {
        let answer = http::get(&node.url("/api/v1/alerts")).await?;
        let seen = &answer["data"]["alerts"][0];
        ensure(seen["labels"]["alertname"] == "Seen", || answer.to_string())?;
        ensure(seen["labels"]["instance"] == "g1", || seen.to_string())
    })
    .await;
    eventually("the door stays shut for a wrong password", SOON, async || {
        let answer = http::get(&node.url("/api/v1/targets")).await?;
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let of = |pool: &str| targets.iter().find(|target| target["scrapePool"] == pool).cloned();
        let (open, shut) = (of("guarded").unwrap_or_default(), of("refused").unwrap_or_default());
        ensure(open["health"] == "up" && shut["health"] == "down", || answer.to_string())?;
        let error = shut["lastError"].as_str().unwrap_or_default();
        ensure(error.contains("401"), || format!("lastError is {error:?}"))
    })
    .await;
    // Replaced while the collector runs, it opens.
    fs::write(&wrong, PASSWORD).expect("written");
    eventually("the right password is taken up", SOON, async || {
        let answer = http::get(&node.url("/api/v1/targets")).await?;
        let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        let opened = targets.iter().any(|t| t["scrapePool"] == "refused" && t["health"] == "up");
        ensure(opened, || answer.to_string())
    })
    .await;
}
