//! Threads whose work can wait: writing the state out, merging, reading a backup. The scheduler gives them what those leave
//! whom a client waits for, so that a merge of a second on two cores makes no answer late. They hold no lock while they work
//! that applying or reading takes, so nobody waits for one that waits for a core.

/// Of threads that a stalled write would wait for in the end.
pub(crate) const SOON: i32 = 5;
/// Of threads that nobody waits for.
pub(crate) const WHENEVER: i32 = 10;

/// Gives the calling thread the niceness `nice`, for good: it cannot be taken back without privileges, so never on a thread of
/// a pool. On systems where niceness is the process's it does nothing.
pub(crate) fn yield_to_others(nice: i32) {
    #[cfg(target_os = "linux")]
    {
        // On Linux a thread has a niceness of its own, and no process id means the caller. What already has a higher one may
        // not lower it: then it stays.
        if let Err(error) = rustix::process::setpriority_process(None, nice) {
            tracing::debug!(%error, nice, "the thread keeps its priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}
