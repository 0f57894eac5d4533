//! Ten thousand acknowledged puts while each node in turn is killed with SIGKILL and started again: none is
//! lost, and every node holds them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use watchkeep_catalog::Client;

mod common;
use common::{Cluster, Node, eventually, wait::ensure};

const PUTS: usize = 10_000;
const CLIENTS: usize = 16;
/// Each node is killed once within so many acknowledged puts.
const KILL_EVERY: usize = PUTS / 4;
/// Longest the whole load may take.
const LONG: Duration = Duration::from_secs(180);
/// A key is written again and again, so that an old value that comes back would be seen.
const KEYS_PER_CLIENT: usize = 200;

#[derive(Clone, Default)]
struct Acknowledged {
    /// Key to the number last acknowledged.
    values: Arc<Mutex<BTreeMap<String, usize>>>,
    count: Arc<AtomicUsize>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_put_is_lost() {
    let mut cluster = Cluster::start(3, &[]).await;
    let acknowledged = Acknowledged::default();
    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(write(client, cluster.urls(), acknowledged.clone())))
        .collect();
    for victim in 0..3 {
        reached(&acknowledged, (victim + 1) * KILL_EVERY).await;
        let killed_at = acknowledged.count.load(Ordering::SeqCst);
        cluster.nodes[victim].kill();
        // The two that are left go on without it.
        reached(&acknowledged, killed_at + KILL_EVERY / 4).await;
        cluster.nodes[victim].start();
        cluster.nodes[victim].ready().await;
    }
    for client in clients {
        client.await.expect("the client did not fail");
    }
    let took = started.elapsed();
    let values = acknowledged.values.lock().expect("no holder panicked").clone();
    assert_eq!(acknowledged.count.load(Ordering::SeqCst), PUTS);
    eprintln!("{PUTS} puts acknowledged in {took:?} with three kills");
    for node in &cluster.nodes {
        // Its own state, without asking the others: it has caught up when the newest values are there.
        eventually(&format!("{} holds everything", node.name), LONG, async || {
            let held = node.numbers("/durable/").await?;
            let lost: Vec<_> = values
                .iter()
                .filter(|(key, value)| held.get(*key).is_none_or(|held| held < value))
                .map(|(key, value)| format!("{key}: {:?}, acknowledged {value}", held.get(key)))
                .collect();
            ensure(lost.is_empty(), || {
                format!("{} lost: {:?}", lost.len(), &lost[..lost.len().min(5)])
            })?;
            ensure(held.len() == values.len(), || format!("{} keys", held.len()))
        })
        .await;
    }
}

/// Without its log a member does not know what it has acknowledged and for whom it has voted: it does not start.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_its_log_does_not_start() {
    let mut cluster = Cluster::start(1, &[]).await;
    let node = &mut cluster.nodes[0];
    node.kill();
    let log = node.data().join("registry/log");
    std::fs::remove_dir_all(&log).expect("removed");
    for _ in 0..2 {
        let said = last_words(node).await;
        let log = log.display().to_string();
        assert!(said.contains(&log) && said.contains("the Raft log is missing"), "{said}");
    }
}

/// One bit of it turned, or its end lost: it does not start either, and says where.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_log_is_damaged_says_where_and_does_not_start() {
    let mut cluster = Cluster::start(1, &[]).await;
    let registry = Client::new(&cluster.urls()).expect("endpoints");
    for number in 0..50 {
        registry.put("/durable/k", number.to_string(), 0).await.expect("put");
    }
    let node = &mut cluster.nodes[0];
    node.kill();
    let folder = std::fs::read_dir(node.data().join("registry/log")).expect("a folder");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    let first = files.iter().min().expect("a segment");
    let whole = std::fs::read(first).expect("read");
    let used = whole.iter().rposition(|byte| *byte != 0).expect("something was written") + 1;
    let mut turned = whole.clone();
    turned[used / 2] ^= 1;
    for damaged in [&turned[..], &whole[..used / 2]] {
        std::fs::write(first, damaged).expect("written");
        let said = last_words(node).await;
        let shown = first.display().to_string();
        assert!(said.contains(&shown) && said.contains(" at byte "), "{said}");
    }
    std::fs::write(first, whole).expect("written");
    node.start();
    node.ready().await;
}

/// The last line of a node that ends when it is started.
async fn last_words(node: &mut Node) -> String {
    node.start();
    let begun = Instant::now();
    while !node.has_ended() {
        assert!(begun.elapsed() < LONG, "it runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.kill();
    let said = std::fs::read_to_string(node.log()).expect("a log");
    said.lines().last().unwrap_or_default().to_owned()
}

/// Puts numbers that grow; an error is tried again, since only an answer counts.
async fn write(client: usize, mut endpoints: Vec<String>, acknowledged: Acknowledged) {
    // Not everybody begins at the same node.
    let nodes = endpoints.len();
    endpoints.rotate_left(client % nodes);
    let registry = Client::new(&endpoints).expect("endpoints");
    for number in 0..PUTS / CLIENTS {
        let key = format!("/durable/{client}/{}", number % KEYS_PER_CLIENT);
        let deadline = Instant::now() + LONG;
        while let Err(error) = registry.put(&key, number.to_string(), 0).await {
            assert!(Instant::now() < deadline, "put {key}: {error}");
            assert!(!error.is_refusal(), "put {key} refused: {error}");
        }
        acknowledged.values.lock().expect("no holder panicked").insert(key, number);
        acknowledged.count.fetch_add(1, Ordering::SeqCst);
    }
}

async fn reached(acknowledged: &Acknowledged, count: usize) {
    eventually(&format!("{count} puts"), LONG, async || {
        let now = acknowledged.count.load(Ordering::SeqCst);
        ensure(now >= count, || format!("{now} so far"))
    })
    .await;
}
