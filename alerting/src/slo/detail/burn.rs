//! Burn rates over the windows that alerts look at, and whether they can be believed. Pure.
//!
//! The pairs are those of Google's SRE workbook, chapter 5: a page when the last hour and the last 5 minutes burn 14.4 times
//! too fast, or 6 h and 30 min 6 times; a ticket when a day and 2 h burn 3 times, or three days and 6 h once.
//!
//! **A window that began before the first probe** counts what was before it as kept: else a store that is minutes old would
//! page for one failed probe, as if the promise were already an hour's share broken.
//!
//! **Sparse probes.** At 99.99 % and a probe every 10 s, a single failed one is a burn rate of 27.8 over an hour. Where fewer
//! than [`CONFIRMING`] failed probes exceed an alert's rate, they must be that many, in as many different minutes, before the
//! rate is *confirmed*; where probes are dense the published formula holds as it is.

use serde::Serialize;

use super::{super::bucket::Bucket, Hours, Objective};
use crate::slo::time::{DAY_MS, HOUR_MS, MINUTE_MS, floor};

/// Failed probes, and minutes with failed probes, that confirm a burn rate where probes are sparse.
pub(in super::super) const CONFIRMING: u64 = 3;

/// A window of burn rates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct BurnWindow {
    pub(in super::super) name: &'static str,
    pub(in super::super) length_ms: i64,
    /// The rate at which an alert that ends with this window fires.
    pub(in super::super) factor: f64,
}

const fn window(name: &'static str, length_ms: i64, factor: f64) -> BurnWindow {
    BurnWindow { name, length_ms, factor }
}

/// All of them, the shortest first.
pub(in super::super) const WINDOWS: [BurnWindow; 8] = [
    window("5m", 5 * MINUTE_MS, 14.4),
    window("30m", 30 * MINUTE_MS, 6.0),
    window("1h", HOUR_MS, 14.4),
    window("2h", 2 * HOUR_MS, 3.0),
    window("6h", 6 * HOUR_MS, 1.0),
    window("24h", DAY_MS, 3.0),
    window("3d", 3 * DAY_MS, 1.0),
    window("30d", 30 * DAY_MS, 1.0),
];

/// The shorter windows of the alerts' pairs: those that confirm.
pub(in super::super) const SHORT: [&str; 4] = ["5m", "30m", "2h", "6h"];

/// One objective's burn rate over one window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Burn {
    /// Bad share over allowed share, what was before the first probe counted as kept; none without probes.
    pub rate: Option<f64>,
    /// Bad probes.
    pub bad_probes: u64,
    /// Whether they are enough to mean something.
    pub confirmed: bool,
}

/// Both objectives over one window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BurnRate {
    /// Which: `5m`, `30m`, `1h`, `2h`, `6h`, `24h`, `3d` or `30d`.
    pub window: &'static str,
    /// Probes in it.
    pub probes: u64,
    /// Share of the window since the first probe.
    pub known_ratio: f64,
    /// Probes that fail.
    pub availability: Burn,
    /// Probes that fail or take too long.
    pub latency: Burn,
}

/// Burn rates at `now`; `minutes` are the counts of the last six hours.
pub(in super::super) fn burn_rates(
    now: i64,
    objective: Objective,
    minutes: &[(i64, Bucket)],
    hours: Hours<'_>,
) -> Vec<BurnRate> {
    let first = hours.begun(minutes).unwrap_or(now);
    let rate = |window: &BurnWindow| {
        let unit = if window.length_ms > 6 * HOUR_MS { HOUR_MS } else { MINUTE_MS };
        let from = floor(now - window.length_ms, unit);
        let by_minute: Vec<_> = match unit {
            MINUTE_MS => minutes.iter().filter(|(at, _)| *at >= from / MINUTE_MS).collect(),
            _ => Vec::new(),
        };
        let sum = match unit {
            MINUTE_MS => by_minute.iter().fold(Bucket::default(), |mut sum, (_, minute)| {
                sum.add(*minute);
                sum
            }),
            _ => hours.sum(from, now),
        };
        let known_ratio = (now - first.clamp(from, now)) as f64 / (now - from) as f64;
        let allowed = 1.0 - objective.availability;
        let burn = |good: fn(&Bucket) -> u64| {
            let bad_probes = sum.total - good(&sum);
            let bad_minutes = by_minute.iter().filter(|(_, m)| m.total > good(m)).count() as u64;
            let dense = window.factor * allowed * sum.total as f64 >= CONFIRMING as f64;
            let spread = unit == HOUR_MS || bad_minutes >= CONFIRMING;
            Burn {
                rate: (sum.total > 0)
                    .then(|| bad_probes as f64 / sum.total as f64 / allowed * known_ratio),
                bad_probes,
                confirmed: bad_probes >= CONFIRMING && (dense || spread),
            }
        };
        BurnRate {
            window: window.name,
            probes: sum.total,
            known_ratio,
            availability: burn(|bucket| bucket.good),
            latency: burn(|bucket| bucket.fast),
        }
    };
    WINDOWS.iter().map(rate).collect()
}

/// That probes are too sparse for one of them to mean anything.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sparse {
    /// Probes in the last hour.
    pub probes_last_hour: u64,
    /// The burn rate that a single failed one is, over an hour.
    pub burn_rate_of_one: f64,
    /// The same in words.
    pub text: String,
}

impl Sparse {
    /// Whether fewer than [`CONFIRMING`] failed probes in five minutes exceed the rate of a page.
    pub(super) fn of(rates: &[BurnRate], objective: Objective) -> Option<Self> {
        let count = |name| rates.iter().find(|rate| rate.window == name).map_or(0, |r| r.probes);
        let (short, hour) = (count("5m"), count("1h"));
        let allowed = 1.0 - objective.availability;
        if hour == 0 || 14.4 * allowed * short as f64 >= CONFIRMING as f64 {
            return None;
        }
        let burn_rate_of_one = 1.0 / (allowed * hour as f64);
        let text = format!(
            "Sparse probes: one of {hour} in the last hour is a burn rate of {burn_rate_of_one:.1}, so a single failed probe \
             means nothing yet. Alerts want {CONFIRMING} failed probes in {CONFIRMING} different minutes."
        );
        Some(Self { probes_last_hour: hour, burn_rate_of_one, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 40 * DAY_MS + 30 * MINUTE_MS;

    /// So many probes a minute for so many minutes up to now, of which the last minutes have so many bad ones.
    fn rates(per_minute: u64, since: i64, bad: &[u64]) -> Vec<BurnRate> {
        let minutes: Vec<_> = (0..since)
            .rev()
            .map(|back| {
                let bad = bad.get(back as usize).copied().unwrap_or(0);
                let good = per_minute - bad;
                let bucket = Bucket { total: per_minute, good, fast: good, excluded: 0 };
                (NOW / MINUTE_MS - 1 - back, bucket)
            })
            .collect();
        let mut days = Vec::new();
        for (minute, bucket) in &minutes {
            super::super::tests::fill(&mut days, minute * MINUTE_MS, *bucket);
        }
        burn_rates(NOW, Objective { availability: 0.9999, latency_ms: 100 }, &minutes, Hours(&days))
    }

    fn of(rates: &[BurnRate], window: &str) -> (f64, bool) {
        let burn = rates.iter().find(|rate| rate.window == window).unwrap().availability;
        (burn.rate.unwrap(), burn.confirmed)
    }

    #[test]
    fn one_failed_probe_of_ten_seconds_is_not_confirmed() {
        let found = rates(6, 360, &[1]);
        let (rate, confirmed) = of(&found, "1h");
        assert!((rate - 27.8).abs() < 0.1 && !confirmed, "{rate}");
        let objective = Objective { availability: 0.9999, latency_ms: 100 };
        let sparse = Sparse::of(&found, objective).unwrap();
        assert_eq!(sparse.probes_last_hour, 360);
        assert!(sparse.text.contains("27.8"), "{}", sparse.text);
    }

    #[test]
    fn an_outage_is_confirmed_in_its_third_minute() {
        for (bad, confirmed) in
            [(&[6][..], false), (&[1, 6], false), (&[1, 1, 1], true), (&[6, 6, 6], true)]
        {
            assert_eq!(of(&rates(6, 360, bad), "5m").1, confirmed, "{bad:?}");
        }
    }

    #[test]
    fn dense_probes_need_no_third_minute() {
        // 14.4 × 0.0001 × 5 × 1000 = 7.2 failed probes exceed the rate of a page.
        assert!(of(&rates(1_000, 360, &[8]), "5m").1);
        let objective = Objective { availability: 0.9999, latency_ms: 100 };
        assert_eq!(Sparse::of(&rates(1_000, 360, &[]), objective), None);
    }

    #[test]
    fn before_the_first_probe_the_promise_was_kept() {
        let (young, _) = of(&rates(6, 6, &[1]), "1h");
        let (old, _) = of(&rates(6, 360, &[1]), "1h");
        assert!((young - old).abs() < 1e-6, "{young} {old}");
    }
}
