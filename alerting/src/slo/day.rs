//! The roll-up of one service and UTC day, as it is kept in the registry, and how it meets fresh counts.
//!
//! **Merge rule**, hour by hour: whoever counted more probes tells the hour, its downtimes included; on a tie
//! the fresh count does. Where neither saw a probe, both sides' downtimes hold (a service that is down and
//! silent). So a node with gaps in its samples never lowers what was recorded.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use watchkeep_catalog::Time;

use super::{
    bucket::Bucket,
    interval::{Cause, Downtime, Span, clip, coalesce, explain},
    roles::RoleChange,
    sweep::State,
    time::{DAY_MS, HOUR_MS, day_start, instant},
    track::Track,
};

/// Downtimes kept per day; of more, the longest.
const DOWNTIMES_MAX: usize = 200;
/// Days of roll-ups that are kept.
pub(super) const DAYS_MAX: i64 = 35;

/// Record at `/watchkeep/slo/{service}/{yyyy-mm-dd}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayRecord {
    /// The service.
    pub service: String,
    /// The UTC day.
    pub day: NaiveDate,
    /// Its 24 hours.
    pub hours: [Bucket; 24],
    /// Its downtimes, cut at midnight, in order.
    #[serde(default)]
    pub downtimes: Vec<Downtime>,
    /// Role history of each instance that ever was a standby, as known when this was written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, Vec<RoleChange>>,
    /// When it was last written.
    pub updated_at: Time,
}

/// A day merged from its record and fresh counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Day {
    pub(super) start: i64,
    pub(super) hours: [Bucket; 24],
    pub(super) downtimes: Vec<Span>,
}

impl Day {
    /// Merges by the rule above; `causes` (in the order of time) explain what the record does not.
    pub(super) fn merge(
        day: NaiveDate,
        stored: Option<&DayRecord>,
        track: Option<&Track>,
        causes: &[(i64, Cause)],
    ) -> Self {
        let start = day_start(day);
        let told = stored.map_or(Vec::new(), |record| {
            record.downtimes.iter().map(|d| Span::of(d, record.updated_at)).collect()
        });
        let seen = track.map_or(Vec::new(), |track| track.spans(State::Down));
        let mut hours = [Bucket::default(); 24];
        let mut downtimes = Vec::new();
        for (index, bucket) in (0i64..).zip(hours.iter_mut()) {
            let (from, to) = (start + index * HOUR_MS, start + (index + 1) * HOUR_MS);
            let recorded = stored.map_or(Bucket::default(), |record| record.hours[index as usize]);
            let fresh = track.map_or(Bucket::default(), |t| t.hour(from.div_euclid(HOUR_MS)));
            *bucket = fresh.or_fuller(recorded);
            if recorded.total >= fresh.total && (recorded.total > fresh.total || fresh.total == 0) {
                downtimes.extend(clip(&told, from, to));
            }
            if fresh.total >= recorded.total {
                downtimes.extend(clip(&seen, from, to));
            }
        }
        let mut downtimes = coalesce(downtimes);
        let known: Vec<_> = told.iter().map(|s| (s.start, s.cause.clone())).collect();
        explain(&mut downtimes, &known);
        explain(&mut downtimes, causes);
        Self { start, hours, downtimes }
    }

    /// The record of it.
    pub(super) fn record(
        &self,
        service: &str,
        roles: BTreeMap<String, Vec<RoleChange>>,
        now: i64,
    ) -> DayRecord {
        let mut longest = self.downtimes.clone();
        longest.sort_by_key(|s| s.start - s.end);
        longest.truncate(DOWNTIMES_MAX);
        longest.sort_by_key(|s| s.start);
        DayRecord {
            service: service.to_owned(),
            day: instant(self.start).date_naive(),
            hours: self.hours,
            downtimes: longest.into_iter().map(Span::record).collect(),
            roles,
            updated_at: instant(now),
        }
    }

    /// The first moment of the next day.
    pub(super) fn end(&self) -> i64 {
        self.start + DAY_MS
    }
}

#[cfg(test)]
#[path = "day_tests.rs"]
mod tests;
