//! A page of metrics, what changed between two, and the CPU time of a process.

use std::{collections::HashMap, fs};

use crate::common::http;

pub(crate) const SUCCESSES: &str =
    r#"watchkeep_collector_probes_total{kind="http",result="success"}"#;
pub(crate) const FAILURES: &str =
    r#"watchkeep_collector_probes_total{kind="http",result="failure"}"#;
pub(crate) const MISSED: &str = "watchkeep_collector_missed_runs_total";
pub(crate) const SHED: &str = "watchkeep_collector_shed_runs_total";
const LAG_BUCKET: &str = r#"watchkeep_collector_probe_lag_seconds_bucket{le=""#;
/// Of `/proc/{pid}/stat`, on every Linux that matters.
const TICKS_PER_SECOND: f64 = 100.0;

/// The collector's own metrics: those of single targets are left out.
#[derive(Debug, Clone)]
pub(crate) struct Page(HashMap<String, f64>);

impl Page {
    pub(crate) async fn fetch(url: &str) -> Result<Self, String> {
        let text = http::text(http::client().get(url)).await?;
        let own = text.lines().filter(|line| line.starts_with("watchkeep_collector_"));
        let read = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(Self(own.filter_map(read).collect()))
    }

    /// A metric's value; 0 when it is not there.
    pub(crate) fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// What a counter has counted since an earlier page.
    pub(crate) fn since(&self, before: &Self, name: &str) -> f64 {
        self.value(name) - before.value(name)
    }

    /// A quantile of the lag since an earlier page, in seconds, read from the histogram as PromQL does.
    pub(crate) fn lag(&self, before: &Self, quantile: f64) -> f64 {
        let bound = |name: &str| {
            let le = name.strip_prefix(LAG_BUCKET)?.strip_suffix(r#""}"#)?;
            (le == "+Inf").then_some(f64::INFINITY).or_else(|| le.parse().ok())
        };
        let buckets =
            self.0.keys().filter_map(|name| Some((bound(name)?, self.since(before, name))));
        let mut buckets: Vec<(f64, f64)> = buckets.collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let rank = buckets.last().map_or(0.0, |(_, all)| all * quantile);
        let (mut from, mut below) = (0.0, 0.0);
        for (to, count) in buckets {
            if count >= rank && count > below {
                // Beyond the last bound nothing is known.
                let width = if to.is_finite() { to - from } else { return to };
                return from + width * (rank - below) / (count - below);
            }
            (from, below) = (to, count);
        }
        0.0
    }
}

/// CPU time that a process has used.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name in brackets: state is the first field, user and system time the 12th and 13th.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}
