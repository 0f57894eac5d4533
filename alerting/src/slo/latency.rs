//! How long good probes took: a histogram that can be added up, so that nothing is sampled away.
//!
//! Bucket `i` holds the probes of more than `2^((i-1)/16)` and at most `2^(i/16)` microseconds. A quantile is answered by
//! the geometric middle of its bucket, so it is off by at most [`Latency::ERROR`], 2.2 %, at any time scale:
//!
//! ```text
//! 20.0 ms ─▶ bucket 229 = (19.57 ms, 20.43 ms] ─▶ 20.0 ms ± 2.2 %
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets to a doubling.
const PER_DOUBLING: f64 = 16.0;

/// Counts by bucket, in order, without the empty ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latency(Vec<(i16, u32)>);

impl Latency {
    /// A quantile is off by at most this share: 2^(1/32) − 1.
    pub const ERROR: f64 = 0.022;

    /// Counts a probe that took so many microseconds.
    pub(super) fn count(&mut self, micros: u32) {
        self.add_to(bucket(micros), 1);
    }

    /// Counts another histogram's probes too.
    pub(super) fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            self.add_to(*bucket, *count);
        }
    }

    fn add_to(&mut self, bucket: i16, count: u32) {
        match self.0.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(count),
            Err(at) => self.0.insert(at, (bucket, count)),
        }
    }

    /// How many probes it counts.
    #[must_use]
    pub fn probes(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Whether it counts none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The time within which the share `q` (0 to 1) of the probes was answered, by nearest rank; none without probes.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let probes = self.probes();
        let rank = ((q * probes as f64).ceil() as u64).clamp(1, probes.max(1));
        let mut below = 0;
        for (bucket, count) in &self.0 {
            below += u64::from(*count);
            if below >= rank {
                let micros = ((f64::from(*bucket) - 0.5) / PER_DOUBLING).exp2();
                return Some(Duration::from_secs_f64(micros / 1e6));
            }
        }
        None
    }
}

fn bucket(micros: u32) -> i16 {
    // Of 32 bits, at most 512 buckets.
    (f64::from(micros.max(1)).log2() * PER_DOUBLING).ceil() as i16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_quantile_is_as_exact_as_it_says(mut times in prop::collection::vec(50u32..30_000_000, 1..300), q in 0.0f64..=1.0) {
            // Added up from two halves, as days are.
            let (mut left, mut right) = (Latency::default(), Latency::default());
            for (at, time) in times.iter().enumerate() {
                if at % 2 == 0 { left.count(*time) } else { right.count(*time) }
            }
            left.add(&right);
            times.sort_unstable();
            let rank = ((q * times.len() as f64).ceil() as usize).max(1);
            let exact = f64::from(times[rank - 1]) / 1e6;
            let found = left.quantile(q).unwrap().as_secs_f64();
            prop_assert!((found / exact - 1.0).abs() <= Latency::ERROR + 1e-9, "{found} {exact}");
            prop_assert_eq!(left.probes(), times.len() as u64);
        }
    }

    #[test]
    fn there_and_back() {
        let mut latency = Latency::default();
        assert_eq!((latency.quantile(0.5), latency.is_empty()), (None, true));
        [20_000, 20_000, 0, 900_000].iter().for_each(|micros| latency.count(*micros));
        let json = serde_json::to_string(&latency).unwrap();
        assert_eq!(json, "[[0,1],[229,2],[317,1]]");
        assert_eq!(serde_json::from_str::<Latency>(&json).unwrap(), latency);
    }
}
