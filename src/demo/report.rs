//! The SLO report, as far as the demo tells it.

use std::fmt;

use serde::Deserialize;

/// `GET /v1/slo/{service}`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Report {
    /// `up`, `down` or `unknown`.
    pub(super) state: String,
    windows: Vec<Window>,
}

#[derive(Debug, Clone, Deserialize)]
struct Window {
    probes: Probes,
    downtime: Downtime,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Probes {
    total: u64,
    good: u64,
    fast: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Downtime {
    count: u64,
    seconds: f64,
}

impl Report {
    /// How often the service was down in the shortest window; none when nothing was probed in it.
    pub(super) fn downtimes(&self) -> Option<u64> {
        self.windows.first().filter(|w| w.probes.total > 0).map(|w| w.downtime.count)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Window { probes, downtime }) = self.windows.first() else { return Ok(()) };
        let share = |part: u64| 100.0 * part as f64 / probes.total.max(1) as f64;
        write!(
            f,
            "{}; {:.2} % of {} probes succeeded, {:.2} % in time; down {} times, {:.1} s",
            self.state,
            share(probes.good),
            probes.total,
            share(probes.fast),
            downtime.count,
            // An empty sum of seconds may be -0.
            downtime.seconds.abs()
        )
    }
}
