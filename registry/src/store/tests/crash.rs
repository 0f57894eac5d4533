//! A process that applies a known sequence of commands, with flushes, merges, compactions and rewritings on the way, is killed
//! (SIGKILL) anywhere in it, again and again. What its successor finds on the disk is the state after some command, not
//! before the last one that was flushed, and equal to that of a store that was never closed; from there it goes on.

use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Command as Process, Stdio},
    time::Duration,
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{super::*, reopen};
use crate::{
    mvcc::{self, Place},
    schema::{Body, Command, Compact, Delete, Grant, Op, OpKind, Put, Revoke, Txn},
};

/// Tells the child where the state is.
const DIR: &str = "WATCHKEEP_TEST_CRASH_DIR";
/// Times that it is killed.
const ROUNDS: u64 = 12;
/// Flushes that are waited for before it is killed.
const FLUSHES: usize = 6;

/// The command that stands at `index`, whatever came before it.
fn command(index: u64, revision: i64) -> Command {
    let mut random = StdRng::seed_from_u64(index);
    let key = Bytes::from(format!("key-{:03}", random.random_range(0..400)));
    let lease = random.random_range(1..6);
    let op = |kind| Op { kind: Some(kind) };
    let put = |key: Bytes, lease| {
        // Large enough that segments have blocks, and never like another.
        let value = format!("{index:0>300}").into();
        op(OpKind::Put(Put { key, value, lease, ..Put::default() }))
    };
    let body = match random.random_range(0..100) {
        // The lease may not be there: then nothing is put.
        0..10 => Body::Txn(Txn { success: vec![put(key, lease)], ..Txn::default() }),
        10..75 => {
            let more = Bytes::from(format!("more-{:02}", random.random_range(0..40)));
            let success = vec![put(key, 0), put(more, 0)];
            Body::Txn(Txn { success, ..Txn::default() })
        }
        75..90 => {
            // A third of them are of one key; a range that ends before it begins is of none.
            let end = Bytes::from(format!("key-{:03}", random.random_range(0..400)));
            let range_end = if index.is_multiple_of(3) { Bytes::new() } else { end };
            let delete = OpKind::Delete(Delete { key, range_end, prev_kv: false });
            Body::Txn(Txn { success: vec![op(delete)], ..Txn::default() })
        }
        90..94 => Body::Grant(Grant { id: lease, ttl_seconds: 60 }),
        94..97 => Body::Revoke(Revoke { id: lease, term: 0 }),
        // What is above the newest revision, or compacted, is refused.
        _ => Body::Compact(Compact { revision: revision - random.random_range(0..60) }),
    };
    Command { time_ms: 1, body: Some(body), ..Command::default() }
}

/// Applies the command behind what is applied.
fn step(store: &Store, now: &mut Applied) {
    now.index += 1;
    (now.any, now.term) = (true, 1);
    let command = command(now.index, now.revision);
    let done = mvcc::apply(&store.live(), now, &command, Place { term: 1 });
    store.push(done.expect("a readable state").writes, now.clone());
}

/// Goes on until it is killed, and tells each index that is on the disk.
async fn work(dir: &Path) {
    let store = reopen(dir).await;
    let mut now = Applied::clone(&store.applied());
    let mut random = StdRng::from_os_rng();
    loop {
        store.room().await.expect("room");
        for _ in 0..random.random_range(1..150) {
            step(&store, &mut now);
        }
        match random.random_range(0..5) {
            0 => store.rewrite().await.expect("rewritten"),
            1 | 2 => store.flush().await.expect("flushed"),
            _ => continue,
        }
        println!("on disk: {}", now.index);
        std::io::stdout().flush().expect("told");
    }
}

/// The child's part; nothing without [`DIR`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    if let Some(dir) = std::env::var_os(DIR) {
        work(Path::new(&dir)).await;
    }
}

/// Lets a child work, kills it, and answers the last index that it told.
fn killed(dir: &Path, random: &mut StdRng) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let mut child = Process::new(program)
        .args(["--exact", "store::tests::crash::child", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let told =
        |line: String| line.rsplit_once("on disk: ").and_then(|(_, index)| index.parse().ok());
    let mut told = lines.map_while(Result::ok).filter_map(told);
    let wanted = random.random_range(1..=FLUSHES);
    let mut last = told.by_ref().take(wanted).last().expect("it gets as far");
    // At any moment of what comes next.
    std::thread::sleep(Duration::from_micros(random.random_range(0..30_000)));
    child.kill().expect("killed");
    child.wait().expect("it has ended");
    // What it told before it was killed holds, too.
    last = told.last().unwrap_or(last);
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_it_is_killed_at_the_state_is_that_of_some_moment() {
    let dir = tempfile::tempdir().expect("a folder");
    let model_dir = tempfile::tempdir().expect("a folder");
    let model = Store::open(model_dir.path()).expect("a state");
    let mut expected = Applied::clone(&model.applied());
    let seed = StdRng::from_os_rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..ROUNDS {
        let told = killed(dir.path(), &mut random);
        let store = reopen(dir.path()).await;
        let found = Applied::clone(&store.applied());
        assert!(found.index >= told, "round {round}: {} of {told} are there", found.index);
        while expected.index < found.index {
            step(&model, &mut expected);
        }
        assert_eq!(found, expected, "round {round}");
        same(&store, &model, &found);
        // Merged and written anew it is the same.
        store.rewrite().await.expect("rewritten");
        same(&store, &model, &found);
    }
    assert!(expected.compact_revision > 0, "something was compacted");
}

/// Everything that can be read, watched or leased is equal.
fn same(store: &Store, model: &Store, applied: &Applied) {
    let (revision, compacted) = (applied.revision, applied.compact_revision);
    let hash = |store: &Store| {
        let view = store.view();
        let all = mvcc::hash_all(&view, revision, compacted).expect("readable");
        let earlier = (compacted + revision) / 2;
        (all, mvcc::hash_kv(&view, earlier.max(compacted), compacted).expect("readable"))
    };
    assert_eq!(hash(store), hash(model), "at revision {revision}, compacted at {compacted}");
}
