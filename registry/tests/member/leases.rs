//! Leases through the etcd API: kept alive, listed, run out; and what a change of leader leaves of them.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use watchkeep_api::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, lease_client::LeaseClient,
};
use watchkeep_registry::{Node, RegistryConfig};

use crate::ports;

/// How long anything may take before the test fails.
const DEADLINE: Duration = Duration::from_secs(20);

fn free_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], ports::free()))
}

async fn start(count: u64, dir: &Path) -> BTreeMap<u64, Node> {
    let peers: BTreeMap<u64, SocketAddr> = (1..=count).map(|id| (id, free_port())).collect();
    let mut nodes = BTreeMap::new();
    for (id, peer) in &peers {
        let config = RegistryConfig {
            node_id: *id,
            data_dir: dir.join(id.to_string()),
            client_listen: free_port(),
            peer_listen: *peer,
            initial_cluster: peers.iter().map(|(id, at)| (*id, at.to_string())).collect(),
            log_segment_bytes: 1 << 20,
            lease_checkpoint_interval_ms: 500,
            ..RegistryConfig::default()
        };
        nodes.insert(*id, Node::start(config, &prometheus::Registry::new()).await.unwrap());
    }
    nodes
}

fn leases(node: &Node) -> LeaseClient<Channel> {
    let address = format!("http://{}", node.client_addr());
    LeaseClient::new(Endpoint::from_shared(address).unwrap().connect_lazy())
}

async fn grant(client: &mut LeaseClient<Channel>, id: i64, ttl: i64) {
    client.lease_grant(LeaseGrantRequest { id, ttl }).await.unwrap();
}

async fn left(client: &mut LeaseClient<Channel>, id: i64) -> i64 {
    let asked = LeaseTimeToLiveRequest { id, keys: false };
    client.lease_time_to_live(asked).await.unwrap().into_inner().ttl
}

/// The TTLs that are answered to renewals of `ids`, all sent at once on one stream.
async fn renew(client: &mut LeaseClient<Channel>, ids: Vec<i64>) -> Vec<(i64, i64)> {
    let requests = ids.into_iter().map(|id| LeaseKeepAliveRequest { id });
    let answers = client.lease_keep_alive(tokio_stream::iter(requests)).await.unwrap();
    let mut answers = answers.into_inner();
    let mut found = Vec::new();
    while let Some(answer) = timeout(DEADLINE, answers.message()).await.unwrap().unwrap() {
        found.push((answer.id, answer.ttl));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_leases_are_answered_as_etcd_does() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = start(1, dir.path()).await;
    let mut client = leases(&nodes[&1]);
    for (id, ttl) in [(5, 500), (3, 300), (4, 400)] {
        grant(&mut client, id, ttl).await;
    }
    assert_eq!(renew(&mut client, vec![4, 99, 3]).await, [(4, 400), (99, 0), (3, 300)]);
    assert_eq!(left(&mut client, 99).await, -1);
    let revoked = client.lease_revoke(LeaseRevokeRequest { id: 99 }).await.unwrap_err();
    assert_eq!(revoked.message(), "etcdserver: requested lease not found");
    assert_eq!(revoked.code(), tonic::Code::NotFound);
    let listed = client.lease_leases(LeaseLeasesRequest {}).await.unwrap().into_inner().leases;
    let ids: Vec<i64> = listed.iter().map(|lease| lease.id).collect();
    assert_eq!(ids, [3, 4, 5], "the one that runs out first comes first");
}

/// A long lease goes on where it was, not from its whole TTL; one that was renewed after its rest was noted has its
/// whole TTL; both on every member.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_ttl_survives_a_change_of_leader() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = start(3, dir.path()).await;
    let mut client = leases(&nodes[&1]);
    grant(&mut client, 1, 600).await;
    grant(&mut client, 2, 600).await;
    let granted = Instant::now();
    // Until the rest shows in whole seconds; it is noted twice a second.
    while left(&mut client, 1).await > 596 {
        assert!(granted.elapsed() < DEADLINE);
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(renew(&mut client, vec![2]).await, [(2, 600)]);
    let renewed = Instant::now();
    let leader = nodes[&1].status().leader.unwrap();
    nodes.remove(&leader).unwrap().shutdown().await;
    for node in nodes.values() {
        let mut client = leases(node);
        let asking = async {
            loop {
                let asked = LeaseTimeToLiveRequest { id: 1, keys: false };
                if let Ok(answer) = client.lease_time_to_live(asked).await {
                    return answer.into_inner().ttl;
                }
            }
        };
        let rest = timeout(DEADLINE, asking).await.expect("there is a leader again");
        assert!(rest <= 598, "it was noted: {rest}");
        let least = 600 - i64::try_from(granted.elapsed().as_secs()).unwrap() - 1;
        assert!(rest >= least, "never early: {rest} < {least}");
        let other = left(&mut client, 2).await;
        let least = 600 - i64::try_from(renewed.elapsed().as_secs()).unwrap() - 1;
        assert!(other >= least, "a renewal that was answered counts: {other} < {least}");
    }
    for node in nodes.values() {
        let renewed = renew(&mut leases(node), vec![1, 2]).await;
        assert_eq!(renewed, [(1, 600), (2, 600)], "the notes are taken back");
    }
}
