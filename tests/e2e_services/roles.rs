//! Each role in a process of its own, and collector and alerting over an etcd that was there before.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{
    Cluster, Node, etcd::Etcd, eventually, http, nginx::Nginx, receiver::Receiver, wait::ensure,
};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_with_one_role_each() {
    let sink = Receiver::start().await;
    let roles = ["registry", "collector", "alerting"];
    let cluster = Cluster::layout_roles(&roles, None, &[("alerting", alerting(&sink))]).run().await;
    does_its_job(&cluster, &cluster.nodes[0], &cluster.nodes[2], &sink).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_and_alerting_over_a_real_etcd() {
    let (sink, dir) = (Receiver::start().await, TempDir::new().expect("temporary folder"));
    let etcd = Etcd::start(dir.path()).await;
    let sections = [("alerting", alerting(&sink))];
    let together = ["collector, alerting"];
    let cluster =
        Cluster::layout_roles(&together, Some(etcd.client.clone()), &sections).run().await;
    does_its_job(&cluster, &cluster.nodes[0], &cluster.nodes[0], &sink).await;
    let keys = crate::common::etcdctl::ok(
        &etcd.client,
        &["get", "--prefix", "--keys-only", "/watchkeep/"],
    );
    for key in
        ["instances/web/web-1", "verdicts/web/web-1", "failovers/", "incidents/", "alerting/leader"]
    {
        assert!(keys.contains(&format!("/watchkeep/{key}")), "{key} is not in etcd: {keys}");
    }
}

fn alerting(sink: &Receiver) -> Value {
    json!({
        "receivers": [{"name": "ops-hook", "webhook": sink.url("/webhook")}],
        "pages": {"receivers": ["ops-hook"]},
        "failover": [{"name": "web", "when": {"service": "web"}, "callback": {"url": sink.url("/callback")}}],
    })
}

/// A fault is found, failed over and paged, and the report knows of it.
async fn does_its_job(cluster: &Cluster, registers: &Node, reports: &Node, sink: &Receiver) {
    let mut nginx = Nginx::start(cluster.dir(), "web-1").await;
    let instance = json!({
        "id": "web-1", "address": "127.0.0.1", "port": nginx.port, "role": "primary",
        "checks": [{"name": "home", "interval_ms": 300, "timeout_ms": 250, "http": {}}],
    });
    registers.register("web", &instance).await;
    registers.verdict("web", "web-1", "passing", SOON).await;
    let report = async || {
        let report = http::get(&reports.url("/v1/slo/web")).await?;
        Ok::<Value, String>(
            report["windows"]
                .as_array()
                .and_then(|windows| windows.first())
                .cloned()
                .unwrap_or_default(),
        )
    };
    eventually("samples reach the report", SOON, async || {
        let window = report().await?;
        ensure(window["probes"]["good"].as_u64() > Some(3), || window.to_string())
    })
    .await;
    nginx.kill();
    sink.wait("/callback", 1, SOON).await;
    let page = sink.wait("/webhook", 1, SOON).await;
    assert_eq!(page[0].json()["status"], "firing");
    nginx.restart().await;
    registers.verdict("web", "web-1", "passing", SOON).await;
    eventually("the report shows the downtime", SOON, async || {
        let window = report().await?;
        ensure(window["downtime"]["seconds"].as_f64() > Some(0.0), || window.to_string())
    })
    .await;
}
