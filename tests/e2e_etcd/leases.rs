//! Leases: what is left of one when its leader is killed, and thousands that run out at once.

use std::time::Duration;

use etcd_client::{Client, GetOptions, PutOptions};

use crate::common::{Cluster, Node, eventually, http, wait::ensure};

const SOON: Duration = Duration::from_secs(30);
const TTL: i64 = 600;
/// Leases that run out together.
const MANY: usize = 3_000;
/// Clients that grant them.
const CLIENTS: usize = 16;

async fn connect(node: &Node) -> Client {
    Client::connect([format!("http://{}", node.client)], None).await.expect("connect")
}

/// A new leader knows what is left of a lease from the notes in the log: it neither begins anew nor ends early.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_ttl_survives_a_leader_that_is_killed() {
    let cluster = Cluster::layout_roles(&["registry"; 3], None, &[]);
    for node in &cluster.nodes {
        node.set_registry("lease_checkpoint_interval_ms: 500");
    }
    let mut cluster = cluster.run().await;
    let at = cluster.raft_leader().await;
    let mut client = connect(&cluster.nodes[(at + 1) % 3]).await;
    let lease = client.lease_grant(TTL, None).await.expect("granted").id();
    let left = async |client: &mut Client| -> Result<i64, String> {
        let left = client.lease_time_to_live(lease, None).await.map_err(|e| e.to_string())?;
        Ok(left.ttl())
    };
    let begun = std::time::Instant::now();
    let before = eventually("some of it has gone", SOON, async || {
        let left = left(&mut client.clone()).await?;
        ensure(left <= TTL - 4, || left.to_string()).map(|()| left)
    })
    .await;
    cluster.nodes[at].kill();
    let after =
        eventually("a new leader says", SOON, async || left(&mut client.clone()).await).await;
    // What had gone since the last note, half a second before, may come back.
    assert!(after <= before + 1, "{before} s before, {after} s after");
    let gone = i64::try_from(begun.elapsed().as_secs()).expect("seconds") + 1;
    assert!(after >= TTL - gone, "{after} s after {gone} s");
}

/// They all end, each with its key, and whoever writes meanwhile is answered.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_leases_that_run_out_at_once_stop_nobody() {
    let cluster = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    let node = &cluster.nodes[0];
    let mut granting = tokio::task::JoinSet::new();
    for at in 0..CLIENTS {
        let mut client = connect(node).await;
        granting.spawn(async move {
            for number in (at..MANY).step_by(CLIENTS) {
                let lease = client.lease_grant(2, None).await.expect("granted").id();
                let under = Some(PutOptions::new().with_lease(lease));
                // On a slow machine the first may have ended.
                let _ = client.put(format!("/leased/{number}"), "x", under).await;
            }
        });
    }
    let mut client = connect(node).await;
    let expired = async || -> Result<usize, String> {
        let page = http::text(http::client().get(node.url("/metrics"))).await?;
        let name = "watchkeep_registry_lease_expired_total ";
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {name}"))
    };
    eventually("all have run out", SOON * 2, async || {
        client.clone().put("/meanwhile", "x", None).await.map_err(|e| e.to_string())?;
        let expired = expired().await?;
        ensure(expired >= MANY, || format!("{expired} so far"))
    })
    .await;
    granting.join_all().await;
    let options = Some(GetOptions::new().with_prefix().with_count_only());
    assert_eq!(client.get("/leased/", options).await.expect("get").count(), 0);
    // Those of the node itself are left.
    assert!(client.leases().await.expect("leases").leases().len() < 10);
}
