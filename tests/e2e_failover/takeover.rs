//! The alerting leader is killed between the decision and the callback's answer. The next leader delivers it
//! with the same idempotency key and fencing token, so the effect is once.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tempfile::TempDir;

use crate::common::{
    Cluster, eventually, http, nginx::Nginx, receiver::Receiver, signature, wait::ensure,
};

const SECRET: &[u8] = b"shared with the receiver";
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn the_next_leader_finishes_what_the_last_one_decided() {
    let dir = TempDir::new().expect("temporary folder");
    // The first request is kept but gets no answer as long as the gate is shut.
    let sink = Receiver::start_gated(false).await;
    let mut nginx = Nginx::start(dir.path(), "db-1").await;
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).expect("secret");
    let alerting = json!({"failover": [{
        "name": "db", "when": {"service": "db", "role": "primary", "status": "critical"},
        "callback": {"url": sink.url("/callback"), "secret_file": secret, "timeout_ms": 30_000},
    }]});
    let mut cluster = Cluster::start(3, &[("alerting", alerting)]).await;
    let instance = json!({
        "id": "db-1", "address": "127.0.0.1", "port": nginx.port, "role": "primary",
        "checks": [{"name": "tcp", "interval_ms": 300, "timeout_ms": 250, "tcp": {}}],
    });
    cluster.nodes[0].register("db", &instance).await;
    cluster.nodes[0].verdict("db", "db-1", "passing", SOON).await;
    let leader = cluster.alerting_leader().await;

    nginx.kill();
    sink.wait("/callback", 1, SOON).await;
    cluster.nodes[leader].kill();
    sink.open();
    let requests = sink.wait("/callback", 2, SOON).await;

    let survivor = &cluster.nodes[(leader + 1) % 3];
    let id = requests[0].header("idempotency-key").to_owned();
    let delivered = eventually("the outcome is recorded", SOON, async || {
        let failover = http::get(&survivor.url(&format!("/v1/failovers/{id}"))).await?;
        ensure(failover["state"] == "delivered", || failover.to_string())?;
        Ok(failover)
    })
    .await;
    let next = cluster.alerting_leader().await;
    assert_ne!(next, leader, "another node leads");
    let requests = sink.at("/callback");
    let unique = |header: &str| -> BTreeSet<String> {
        requests.iter().map(|request| request.header(header).to_owned()).collect()
    };
    assert_eq!(unique("idempotency-key"), BTreeSet::from([id]), "{delivered}");
    assert_eq!(unique("watchkeep-fencing-token").len(), 1, "one fencing token");
    let bodies: BTreeSet<String> =
        requests.iter().map(|r| r.json()["fencing_token"].to_string()).collect();
    assert_eq!(bodies.len(), 1);
    for request in &requests {
        signature::verify(request, SECRET);
    }
    // A receiver that remembers keys has done it once; and nothing else was decided.
    let failovers = survivor.list("/watchkeep/failovers/").await.expect("failovers");
    assert_eq!(failovers.len(), 1, "{failovers:#?}");
    let incidents = survivor.list("/watchkeep/incidents/").await.expect("incidents");
    let of_db = incidents.iter().filter(|incident| incident["labels"]["service"] == "db");
    assert_eq!(of_db.count(), 1, "{incidents:#?}");

    // The killed node comes back and finds nothing left to do.
    cluster.nodes[leader].start();
    cluster.ready().await;
    nginx.restart().await;
    cluster.nodes[leader].verdict("db", "db-1", "passing", SOON).await;
    assert_eq!(sink.at("/callback").len(), requests.len());
}
