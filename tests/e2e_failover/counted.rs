//! What a failover has moved counts as it was, also for a node that begins afterwards.

use std::time::Duration;

use serde_json::json;

use crate::common::{Cluster, Node, eventually, failover, failover::SOON, http, wait::ensure};

/// All probes of the service that count, and the bad ones of them.
async fn counted(node: &Node) -> Result<(u64, u64), String> {
    let report = http::get(&node.url("/v1/slo/db")).await?;
    let probes = &report["windows"][0]["probes"];
    let number = |name: &str| probes[name].as_u64().ok_or_else(|| report.to_string());
    Ok((number("total")?, number("total")? - number("good")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_begins_after_a_failover_counts_the_downtime_before_it() {
    let alerting = json!({"failover": [{
        "name": "db", "when": {"service": "db", "role": "primary"}, "mode": "automatic",
        "confirm_seconds": 3, "steps": [{"promote": {}}],
    }]});
    let mut cluster = Cluster::start(1, &[("alerting", alerting)]).await;
    let (up, port) = failover::listener();
    let node = &cluster.nodes[0];
    failover::register(node, "db", port).await;
    node.verdict("db", "db-1", "passing", SOON).await;
    eventually("good probes count", SOON, async || {
        let (total, _) = counted(node).await?;
        ensure(total >= 5, || format!("{total}"))
    })
    .await;
    drop(up);
    failover::of_service(node, "db", "delivered").await;
    let before = eventually("bad probes count", SOON, async || {
        let (total, bad) = counted(node).await?;
        ensure(bad >= 5, || format!("{bad} of {total}"))?;
        Ok((total, bad))
    })
    .await;
    // What a crash loses are samples of the last second.
    tokio::time::sleep(Duration::from_secs(2)).await;

    // The instances' own records say by now what the failover has written there, and no day is on record yet.
    let node = &mut cluster.nodes[0];
    node.kill();
    node.start();
    node.ready().await;
    eventually("the same counts", SOON, async || {
        let now = counted(node).await?;
        ensure(now.0 >= before.0 && now.1 >= before.1, || format!("{now:?}, before {before:?}"))
    })
    .await;
}
