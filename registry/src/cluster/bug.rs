//! Bugs put back on purpose, for the tests that have to find them (`tests/e2e_linearizability/mutants/cluster.rs`): by
//! `WATCHKEEP_BUG` in the environment, in builds with debug assertions only. What is released has none of it.

/// A linearizable read is answered from the member's own state; no leader is asked.
#[cfg(debug_assertions)]
pub(super) fn reads_ask_no_leader() -> bool {
    static BUG: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| {
        std::env::var("WATCHKEEP_BUG").is_ok_and(|bug| bug == "reads-ask-no-leader")
    });
    *BUG
}

/// A linearizable read is answered from the member's own state; no leader is asked.
#[cfg(not(debug_assertions))]
pub(super) const fn reads_ask_no_leader() -> bool {
    false
}
