//! Who is wrong, as a table; and three members, one of which has another byte.

use std::{net::SocketAddr, path::Path};

use bytes::Bytes;

use super::*;
use crate::{
    Node, RegistryConfig,
    mvcc::{CORRUPT, Table, View, Write},
    schema::{Op, OpKind, Put, Txn},
};

const DEADLINE: Duration = Duration::from_secs(20);

fn answer(keys_hash: u32, events_hash: u32, compact_revision: i64) -> RangeHashResponse {
    RangeHashResponse { keys_hash, events_hash, compact_revision }
}

#[test]
fn the_majority_of_all_members_decides_who_is_wrong() {
    let same = answer(1, 1, 0);
    for (what, answers, members, wrong) in [
        ("all agree", vec![(1, same), (2, same), (3, same)], 3, vec![]),
        ("one differs", vec![(1, same), (2, same), (3, answer(2, 1, 0))], 3, vec![3]),
        ("the leader differs", vec![(1, answer(1, 2, 0)), (2, same), (3, same)], 3, vec![1]),
        ("two of five", vec![(1, same), (2, same), (3, same), (4, answer(2, 1, 0))], 5, vec![4]),
        ("one is down, the others differ", vec![(1, same), (2, answer(2, 1, 0))], 3, vec![0]),
        ("two members", vec![(1, same), (2, answer(2, 1, 0))], 2, vec![0]),
        ("all differ", vec![(1, same), (2, answer(2, 1, 0)), (3, answer(3, 1, 0))], 3, vec![0]),
        ("events are compacted", vec![(1, same), (2, same), (3, answer(1, 9, 6))], 3, vec![]),
        ("events count", vec![(1, same), (2, same), (3, answer(1, 9, 5))], 3, vec![3]),
    ] {
        assert_eq!(minority(&answers.into_iter().collect(), members, 5), wrong, "{what}");
    }
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn three(dir: &Path) -> Vec<Node> {
    let peers: Vec<SocketAddr> = (0..3).map(|_| free_port()).collect();
    let initial_cluster: BTreeMap<u64, String> =
        (1..).zip(&peers).map(|(id, peer)| (id, peer.to_string())).collect();
    let starting = (1..).zip(peers).map(|(node_id, peer_listen)| {
        let config = RegistryConfig {
            node_id,
            data_dir: dir.join(node_id.to_string()),
            client_listen: free_port(),
            peer_listen,
            initial_cluster: initial_cluster.clone(),
            log_segment_bytes: 1 << 20,
            corrupt_check_interval_ms: 20,
            ..RegistryConfig::default()
        };
        async move { Node::start(config, &prometheus::Registry::new()).await.unwrap() }
    });
    join_all(starting).await
}

/// A hundred puts at one revision.
fn hundred(from: usize) -> Body {
    let put = |at: usize| Put {
        key: format!("k{at:04}").into(),
        value: format!("v{at}").into(),
        ..Put::default()
    };
    let success = (from..from + 100).map(|at| Op { kind: Some(OpKind::Put(put(at))) }).collect();
    Body::Txn(Txn { success, ..Txn::default() })
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_with_another_byte_is_named_and_the_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = three(dir.path()).await;
    let cluster = nodes[0].cluster();
    for at in 0..25 {
        let outcome = cluster.propose(hundred(at * 100)).await.unwrap();
        if at == 10 {
            let compact = Body::Compact(crate::schema::Compact { revision: outcome.revision });
            cluster.propose(compact).await.unwrap();
        }
    }
    let checks = |result: &str| -> u64 {
        let of = |node: &Node| {
            node.cluster().metrics().corruption_checks.with_label_values(&[result]).get()
        };
        nodes.iter().map(of).sum()
    };
    // More than a round over all keys, while the compaction runs.
    until("rounds", || checks("equal") > 20).await;
    assert_eq!((checks("different"), cluster.store().alarms()), (0, 0));

    let rounds = |node: &Node| node.cluster().metrics().corruption_check_seconds.get();
    assert!(nodes.iter().any(|node| rounds(node) > 0.0), "a whole round");

    let store = nodes[2].cluster().store();
    until("everything is applied", || store.applied().revision >= 26).await;
    let key = Bytes::from("k2000");
    let mut value = store.view().get(Table::Latest, &key).unwrap().unwrap().to_vec();
    *value.last_mut().unwrap() ^= 1;
    let wrong = Write { table: Table::Latest, key, value: Some(value.into()) };
    store.push(vec![wrong], (*store.applied()).clone());
    until("the alarm", || {
        nodes.iter().all(|node| {
            let view = node.cluster().store().view();
            mvcc::alarms(&view).unwrap() == [(CORRUPT, 3)]
        })
    })
    .await;
    for node in nodes {
        node.shutdown().await;
    }
}
