//! Downtimes as spans of time, cut and joined, with what is known of their cause.

use serde::{Deserialize, Serialize};
use watchkeep_catalog::Time;

use super::time::instant;

/// A cause may lie this far outside the span it explains: clocks and timestamps are not that exact.
const CAUSE_SLACK_MS: i64 = 2_000;

/// What is known of a downtime's cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// The instance whose fault it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// In the words of the probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The incident that was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// The failover that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<String>,
}

impl Cause {
    /// Fills what is not known from `other`.
    fn complete(&mut self, other: &Self) {
        fn fill(own: &mut Option<String>, other: &Option<String>) {
            if own.is_none() {
                own.clone_from(other);
            }
        }
        fill(&mut self.instance, &other.instance);
        fill(&mut self.reason, &other.reason);
        fill(&mut self.incident, &other.incident);
        fill(&mut self.failover, &other.failover);
    }
}

/// A downtime as the day record keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downtime {
    /// Timestamp of the first failed probe (or the day's first moment).
    pub start: Time,
    /// Timestamp of the first good probe (or the next day's first moment); none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Time>,
    /// Why.
    #[serde(default)]
    pub cause: Cause,
}

/// A span of time in milliseconds since 1970, its end not included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: i64,
    pub(super) end: i64,
    /// It had not ended at `end`.
    pub(super) ongoing: bool,
    pub(super) cause: Cause,
}

impl Span {
    pub(super) fn new(start: i64, end: i64, ongoing: bool) -> Self {
        Self { start, end, ongoing, cause: Cause::default() }
    }

    /// A recorded downtime. One that went on when it was written at `updated_at` is known up to then.
    pub(super) fn of(downtime: &Downtime, updated_at: Time) -> Self {
        let end = downtime.end.unwrap_or(updated_at).timestamp_millis();
        let start = downtime.start.timestamp_millis();
        Self { cause: downtime.cause.clone(), ..Self::new(start, end.max(start), false) }
    }

    /// As the day record keeps it.
    pub(super) fn record(self) -> Downtime {
        let end = (!self.ongoing).then(|| instant(self.end));
        Downtime { start: instant(self.start), end, cause: self.cause }
    }

    /// How long it is, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        (self.end - self.start) as f64 / 1000.0
    }

    /// The part within `[from, to)`; it goes on only if it reaches `to`.
    pub(super) fn clip(&self, from: i64, to: i64) -> Option<Self> {
        let (start, end) = (self.start.max(from), self.end.min(to));
        let ongoing = self.ongoing && self.end <= to;
        (start < end).then(|| Self { start, end, ongoing, cause: self.cause.clone() })
    }
}

/// The parts of all spans within `[from, to)`.
pub(super) fn clip(spans: &[Span], from: i64, to: i64) -> impl Iterator<Item = Span> + '_ {
    spans.iter().filter_map(move |s| s.clip(from, to))
}

/// Sorts, and joins what overlaps or touches.
pub(super) fn coalesce(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|s| (s.start, s.end));
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut().filter(|last| span.start <= last.end) {
            Some(last) => {
                last.ongoing = if span.end >= last.end { span.ongoing } else { last.ongoing };
                last.end = last.end.max(span.end);
                last.cause.complete(&span.cause);
            }
            None => joined.push(span),
        }
    }
    joined
}

/// Gives each span what is known of its cause; `causes` are in the order of time.
pub(super) fn explain(spans: &mut [Span], causes: &[(i64, Cause)]) {
    for span in spans {
        let (from, to) = (span.start - CAUSE_SLACK_MS, span.end + CAUSE_SLACK_MS);
        for (_, cause) in causes.iter().filter(|(at, _)| (from..=to).contains(at)) {
            span.cause.complete(cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(list: &[(i64, i64, bool)]) -> Vec<Span> {
        list.iter().map(|(start, end, ongoing)| Span::new(*start, *end, *ongoing)).collect()
    }

    #[test]
    fn joined() {
        for (given, expected) in [
            (vec![], vec![]),
            (vec![(5, 7, false), (1, 3, false)], vec![(1, 3, false), (5, 7, false)]),
            (vec![(1, 3, false), (3, 5, true)], vec![(1, 5, true)]),
            (vec![(1, 9, false), (2, 3, true)], vec![(1, 9, false)]),
            (vec![(1, 9, true), (2, 3, false)], vec![(1, 9, true)]),
        ] {
            assert_eq!(coalesce(spans(&given)), spans(&expected), "{given:?}");
        }
    }

    #[test]
    fn clipped() {
        let span = Span::new(10, 20, true);
        assert_eq!(span.clip(0, 15), Some(Span::new(10, 15, false)));
        assert_eq!(span.clip(12, 20), Some(Span::new(12, 20, true)));
        assert_eq!(span.clip(20, 30), None);
    }

    #[test]
    fn explained_by_what_happened_within() {
        let cause = |instance: Option<&str>, reason: Option<&str>, incident: Option<&str>| Cause {
            instance: instance.map(str::to_owned),
            reason: reason.map(str::to_owned),
            incident: incident.map(str::to_owned),
            failover: None,
        };
        let causes = [
            (5_000, cause(Some("other"), Some("long before"), None)),
            (10_001, cause(None, None, Some("inc-1"))),
            (10_500, cause(Some("db-1"), Some("connection refused"), Some("inc-2"))),
        ];
        let mut downs = spans(&[(10_000, 12_000, false), (60_000, 61_000, false)]);
        explain(&mut downs, &causes);
        assert_eq!(downs[0].cause, cause(Some("db-1"), Some("connection refused"), Some("inc-1")));
        assert_eq!(downs[1].cause, Cause::default());
    }
}
