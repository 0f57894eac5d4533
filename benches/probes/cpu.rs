//! CPU time of a process that is not ours.

use std::fs;

/// Clock ticks in a second of `/proc/<pid>/stat`: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Reads one process's clock.
pub(crate) struct Meter(u32);

impl Meter {
    pub(crate) fn of(process: u32) -> Self {
        Self(process)
    }

    /// User and system time so far.
    pub(crate) fn seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).expect("the process runs");
        // Behind the name in parentheses: state is the first field, utime and stime the 12th and 13th.
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        let ticks: f64 =
            fields.skip(11).take(2).map(|field| field.parse::<f64>().expect("a number")).sum();
        ticks / TICKS
    }
}
