//! `rate_limit`: one request in each interval, and a burst of them at once (a token bucket, as golang.org/x/time/rate).

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Wrong,
    file::{RateLimit, given},
};

/// Units of Go's durations, in seconds.
const UNITS: [(&str, f64); 7] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3_600.0),
];
/// Longest interval in seconds: with one request in a day nobody meant what he wrote.
const SECONDS_MAX: f64 = 86_400.0;

/// So many requests, and no more.
pub(super) struct Limit {
    interval: Duration,
    burst: f64,
    /// Requests that may come at once, and when that was so.
    left: Mutex<(f64, Instant)>,
}

impl Limit {
    /// None where there is no limit.
    ///
    /// # Errors
    /// The field that is wrong, and why.
    pub(super) fn make(said: &RateLimit, now: Instant) -> Result<Option<Self>, Wrong> {
        let refuse = |field: &str, message: String| Err((format!("rate_limit.{field}"), message));
        let text = given(said.interval.as_deref()).unwrap_or("0");
        let Some(interval) = duration(text) else {
            let remedy = "write a number and its unit, like 10ms or 1s";
            return refuse("interval", format!("{text:?} is not a duration: {remedy}"));
        };
        if interval.is_zero() {
            return Ok(None);
        }
        let burst = f64::from(said.burst.unwrap_or(0));
        if burst < 1.0 {
            return refuse("burst", "is 0: nobody would be served; give 1 or more".to_owned());
        }
        Ok(Some(Self { interval, burst, left: Mutex::new((burst, now)) }))
    }

    /// Whether one more is taken now.
    pub(super) fn takes_another(&self, now: Instant) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(left.1);
        let more = since.as_secs_f64() / self.interval.as_secs_f64();
        *left = ((left.0 + more).min(self.burst), now.max(left.1));
        let is_taken = left.0 >= 1.0;
        if is_taken {
            left.0 -= 1.0;
        }
        is_taken
    }
}

/// As Go writes it: `1m30s`, `1.5s`, `0`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (_, in_seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * in_seconds;
        rest = behind;
    }
    let known = !text.is_empty() && (0.0..=SECONDS_MAX).contains(&seconds);
    known.then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        for (text, millis) in [("0", 0), ("100ms", 100), ("1m30s", 90_000), ("1.5s", 1_500)] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "1", "s", "1x", "-1s", "1s5", "100h", "..s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_burst_and_then_one_in_each_interval() {
        let start = Instant::now();
        let said = RateLimit { interval: Some("1s".to_owned()), burst: Some(2) };
        let limit = Limit::make(&said, start).expect("good").expect("a limit");
        let at = |millis| start + Duration::from_millis(millis);
        let taken: Vec<_> = [0, 0, 0, 500, 1_000, 1_000, 9_000, 9_000, 9_000]
            .into_iter()
            .map(|millis| limit.takes_another(at(millis)))
            .collect();
        assert_eq!(taken, [true, true, false, false, true, false, true, true, false]);
        let none = RateLimit { interval: None, burst: None };
        assert!(Limit::make(&none, start).expect("good").is_none());
    }
}
