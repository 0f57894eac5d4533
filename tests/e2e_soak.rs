//! A short soak: the load of `cargo xtask bench soak` for long enough that every member is killed once and purges.

use std::time::Duration;

mod common;
mod soak;

use soak::{Plan, soak};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_stand_the_most_writes_with_purges_and_kills() {
    let plan = Plan {
        time: Duration::from_secs(22),
        kill_every: Duration::from_secs(5),
        writers: 24,
        purges_min: 1,
    };
    let report = soak(&plan).await;
    println!(
        "{} writes, {} kills, purges {:?}, longest silence {:?}",
        report.writes, report.kills, report.purges, report.silence
    );
    assert_eq!(report.faults, Vec::<String>::new());
    assert!(report.kills >= 3, "each member once");
}
