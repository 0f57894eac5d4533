//! Samples of `probe_success` and `probe_duration_seconds`, joined into probes in the order of time.

use std::sync::Arc;

use crate::source::SeriesData;

/// Which probe series: one check of one instance as one collector sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SeriesKey {
    pub(super) instance: String,
    pub(super) check: String,
    pub(super) collector: String,
}

impl SeriesKey {
    fn of(series: &SeriesData) -> Self {
        let label = |name| series.labels.get(name).cloned().unwrap_or_default();
        Self { instance: label("instance"), check: label("check"), collector: label("collector") }
    }
}

/// One probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    /// Milliseconds since 1970.
    pub(super) at: i64,
    /// Index into [`Probes::keys`].
    pub(super) series: usize,
    /// It succeeded.
    pub(super) good: bool,
    /// It succeeded in time.
    pub(super) fast: bool,
    /// How long it took, where that is known.
    pub(super) micros: Option<u32>,
}

/// The probes of one service within a span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Probes {
    /// In ascending order.
    pub(super) keys: Vec<Arc<SeriesKey>>,
    /// In the order of time.
    pub(super) probes: Vec<Probe>,
}

impl Probes {
    /// Joins both metrics' samples in `[from_ms, to_ms)` by series and timestamp. A success whose duration is
    /// missing is not in time.
    pub(super) fn join(
        success: &[SeriesData],
        duration: &[SeriesData],
        (from_ms, to_ms): (i64, i64),
        latency_ms: u64,
    ) -> Self {
        let latency_seconds = latency_ms as f64 / 1000.0;
        let mut durations: Vec<_> = duration.iter().map(|s| (SeriesKey::of(s), s)).collect();
        durations.sort_by(|a, b| a.0.cmp(&b.0));
        let mut series: Vec<_> = success.iter().map(|s| (Arc::new(SeriesKey::of(s)), s)).collect();
        series.sort_by(|a, b| a.0.cmp(&b.0));

        let mut probes = Vec::new();
        for (index, (key, data)) in series.iter().enumerate() {
            let found = durations.binary_search_by(|(k, _)| k.cmp(key)).ok();
            let mut took = found.map_or(&[][..], |at| &durations[at].1.samples).iter().peekable();
            for &(at, value) in data.samples.iter().filter(|(at, _)| (from_ms..to_ms).contains(at))
            {
                while took.next_if(|(t, _)| *t < at).is_some() {}
                let good = value > 0.5;
                let seconds = took.peek().filter(|(t, _)| *t == at).map(|(_, seconds)| *seconds);
                let in_time = seconds.is_some_and(|seconds| seconds <= latency_seconds);
                // Rounded to the nearest, and clamped by the cast.
                let micros = seconds.map(|seconds| (seconds * 1e6).round() as u32);
                probes.push(Probe { at, series: index, good, fast: good && in_time, micros });
            }
        }
        probes.sort_by_key(|p| (p.at, p.series));
        Self { keys: series.into_iter().map(|(key, _)| key).collect(), probes }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A series of one instance, check `http`, collector `a`.
    pub(in super::super) fn series(instance: &str, samples: &[(i64, f64)]) -> SeriesData {
        let labels = [("instance", instance), ("check", "http"), ("collector", "a")];
        let labels = labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        SeriesData { labels, samples: samples.to_vec() }
    }

    #[test]
    fn joined_by_series_and_timestamp() {
        let success = [
            series("b", &[(1_000, 1.0), (2_000, 0.0), (3_000, 1.0), (4_000, 1.0)]),
            series("a", &[(1_500, 1.0), (9_000, 1.0)]),
        ];
        let duration = [
            series("b", &[(1_000, 0.1), (2_000, 0.001), (3_000, 0.100_1)]),
            series("c", &[(1_500, 0.001)]),
        ];
        let joined = Probes::join(&success, &duration, (1_000, 9_000), 100);
        let seen: Vec<_> = joined
            .probes
            .iter()
            .map(|p| (p.at, joined.keys[p.series].instance.as_str(), p.good, p.fast))
            .collect();
        assert_eq!(
            seen,
            [
                (1_000, "b", true, true),
                (1_500, "a", true, false), // its duration is another series'
                (2_000, "b", false, false), // quick to fail is not in time
                (3_000, "b", true, false),
                (4_000, "b", true, false), // no duration
            ]
        );
    }
}
