//! Watchkeep against a live etcd: the same random requests to both, every answer equal field by field, apart from ids
//! and the differences that `docs/etcd-differences.md` lists.
//!
//! Needs `etcd` (apt package `etcd-server`). A failure prints the seed and the sequence, shrunk. `WATCHKEEP_SEED` is
//! the seed of the first sequence (default: drawn), `WATCHKEEP_SEQUENCES` says how many there are.

mod differences;
mod etcd;
mod gateway;
mod generate;
mod generate_txn;
mod intended;
mod op;
mod pair;
#[path = "../../../tests/common/ports.rs"]
mod ports;
mod scenarios;
mod shrink;
mod side;
mod user_op;
mod users;
mod watcher;
mod watching;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::{Rng, SeedableRng, rngs::StdRng};

use pair::Pair;

/// Less than a minute and a half in a debug build on two cores.
const SEQUENCES: u64 = 1_000;
/// Pairs that work side by side: a disk that syncs leaves time.
const PAIRS: usize = 4;

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: give a whole number")))
}

/// Of the first sequence: each run draws its own.
fn first_seed() -> u64 {
    setting("WATCHKEEP_SEED").unwrap_or_else(|| StdRng::from_os_rng().random_range(0..1 << 32))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_sequences_are_answered_as_etcd_answers_them() {
    let first = first_seed();
    let count = setting("WATCHKEEP_SEQUENCES").unwrap_or(SEQUENCES);
    println!("WATCHKEEP_SEED={first} WATCHKEEP_SEQUENCES={count}");
    let next = Arc::new(AtomicU64::new(first));
    let work = (0..PAIRS).map(|_| tokio::spawn(compare(Arc::clone(&next), first + count)));
    for worker in futures::future::join_all(work).await {
        match worker {
            Ok(Ok(())) => {}
            Ok(Err(message)) => panic!("{message}"),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Runs sequences up to seed `end`; the first that differs ends all workers.
async fn compare(next: Arc<AtomicU64>, end: u64) -> Result<(), String> {
    let mut pair = Pair::start().await;
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            pair.stop().await;
            return Ok(());
        }
        let ops = generate::sequence(seed);
        if let Some(found) = pair.run(&ops).await {
            next.store(end, Ordering::Relaxed);
            let (ops, found) = shrink::shrink(&mut pair, ops, found).await;
            let at = found.at.map_or("what watchers saw".to_owned(), |at| format!("step {at}"));
            let steps = ops.iter().enumerate().map(|(at, op)| format!("{at}: {op:?}\n"));
            return Err(format!(
                "WATCHKEEP_SEED={seed} WATCHKEEP_SEQUENCES=1: {at} differs.\n{}\
                 watchkeep: {}\netcd: {}\n{}",
                steps.collect::<String>(),
                found.watchkeep,
                found.etcd,
                pair.ended().unwrap_or_default(),
            ));
        }
    }
}
