//! The roll-up of one service and UTC day, as it is kept in the registry, and how it meets fresh counts.
//!
//! **Merge rule**, hour by hour: whoever counted more probes tells the hour, its downtimes included; on a tie
//! the fresh count does. Where neither saw a probe, both sides' downtimes hold (a service that is down and
//! silent). So a node with gaps in its samples never lowers what was recorded. Of the hours in which a node began to
//! count, or whose many changes it has forgotten, the record tells on a tie: it knows what was before. Spans of maintenance
//! are merged as downtimes are; how long probes took is told for the whole day by whoever counted more of them.
//!
//! A day lists its longest downtimes. The others are counted by the hour, so that no second of them is lost.

use std::{cmp::Ordering, collections::BTreeMap};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use watchkeep_catalog::Time;

use super::{
    bucket::Bucket,
    interval::{Cause, Downtime, Span, clip, coalesce, explain},
    latency::Latency,
    roles::RoleChange,
    sweep::State,
    time::{DAY_MS, HOUR_MS, day_start, instant},
    track::Track,
};

/// Downtimes kept per day; of more, the longest.
const DOWNTIMES_MAX: usize = 200;

/// Downtimes of an hour that are not listed one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unlisted {
    /// Those that began in it.
    pub count: u32,
    /// How long it was down by them, in milliseconds.
    pub ms: u32,
}

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
    /// By the hour (0 to 23), downtimes that are not in the list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unlisted: BTreeMap<u8, Unlisted>,
    /// When it was in maintenance, cut at midnight, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<Downtime>,
    /// How long its good probes took.
    #[serde(default, skip_serializing_if = "Latency::is_empty")]
    pub latency: Latency,
    /// Role history of each instance that ever was a standby, as known when this was written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, Vec<RoleChange>>,
    /// When it was last written.
    pub updated_at: Time,
}

/// Who tells an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Record,
    Track,
    Both,
}

/// A day merged from its record and fresh counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Day {
    pub(super) start: i64,
    pub(super) hours: [Bucket; 24],
    pub(super) downtimes: Vec<Span>,
    pub(super) unlisted: BTreeMap<u8, Unlisted>,
    pub(super) maintenance: Vec<Span>,
    pub(super) latency: Latency,
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
        let mut hours = [Bucket::default(); 24];
        let mut told_by = [Told::Both; 24];
        for (index, (bucket, told)) in (0i64..).zip(hours.iter_mut().zip(&mut told_by)) {
            let recorded = stored.map_or(Bucket::default(), |record| record.hours[index as usize]);
            let hour = (start + index * HOUR_MS).div_euclid(HOUR_MS);
            let fresh = track.map_or(Bucket::default(), |track| track.hour(hour));
            *bucket = fresh.or_fuller(recorded);
            let whole_from = track.map_or(i64::MIN, Track::whole_from);
            *told = match fresh.seen().cmp(&recorded.seen()) {
                Ordering::Less => Told::Record,
                Ordering::Equal if fresh.seen() == 0 => Told::Both,
                Ordering::Equal if start + index * HOUR_MS < whole_from => Told::Record,
                Ordering::Equal | Ordering::Greater => Told::Track,
            };
        }
        let spans = |told: Vec<Span>, state: State| {
            let seen = track.map_or(Vec::new(), |track| track.spans(state));
            let mut found = Vec::new();
            for (index, by) in (0i64..).zip(&told_by) {
                let (from, to) = (start + index * HOUR_MS, start + (index + 1) * HOUR_MS);
                if *by != Told::Track {
                    found.extend(clip(&told, from, to));
                }
                if *by != Told::Record {
                    found.extend(clip(&seen, from, to));
                }
            }
            let mut found = coalesce(found);
            let known: Vec<_> = told.iter().map(|s| (s.start, s.cause.clone())).collect();
            explain(&mut found, &known);
            found
        };
        let read = |list: &[Downtime], at| list.iter().map(|d| Span::of(d, at)).collect();
        let down = stored.map_or(Vec::new(), |r| read(&r.downtimes, r.updated_at));
        let excused = stored.map_or(Vec::new(), |r| read(&r.maintenance, r.updated_at));
        let mut downtimes = spans(down, State::Down);
        explain(&mut downtimes, causes);
        let maintenance = spans(excused, State::Maintenance);
        let mut unlisted = stored.map_or(BTreeMap::new(), |record| record.unlisted.clone());
        unlisted
            .retain(|hour, _| told_by.get(usize::from(*hour)).is_some_and(|by| *by != Told::Track));
        let number = start.div_euclid(HOUR_MS);
        let fresh = track.map_or(Latency::default(), |track| track.latency(number..number + 24));
        let latency = match stored {
            Some(record) if record.latency.probes() > fresh.probes() => record.latency.clone(),
            _ => fresh,
        };
        Self { start, hours, downtimes, unlisted, maintenance, latency }
    }

    /// The record of it.
    pub(super) fn record(
        &self,
        service: &str,
        roles: BTreeMap<String, Vec<RoleChange>>,
        now: i64,
    ) -> DayRecord {
        let longest = |spans: &[Span]| {
            let mut longest = spans.to_vec();
            longest.sort_by_key(|s| s.start - s.end);
            let rest = longest.split_off(longest.len().min(DOWNTIMES_MAX));
            longest.sort_by_key(|s| s.start);
            (longest.into_iter().map(Span::record).collect::<Vec<_>>(), rest)
        };
        let (downtimes, rest) = longest(&self.downtimes);
        let mut unlisted = self.unlisted.clone();
        rest.iter().for_each(|span| self.enter(&mut unlisted, span));
        DayRecord {
            service: service.to_owned(),
            day: instant(self.start).date_naive(),
            hours: self.hours,
            downtimes,
            unlisted,
            maintenance: longest(&self.maintenance).0,
            latency: self.latency.clone(),
            roles,
            updated_at: instant(now),
        }
    }

    /// Counts a downtime with those that are not listed.
    fn enter(&self, unlisted: &mut BTreeMap<u8, Unlisted>, span: &Span) {
        for hour in 0..24_u8 {
            let from = self.start + i64::from(hour) * HOUR_MS;
            if let Some(part) = span.clip(from, from + HOUR_MS) {
                let entry = unlisted.entry(hour).or_default();
                entry.count += u32::from(part.start == span.start);
                entry.ms =
                    entry.ms.saturating_add(u32::try_from(part.end - part.start).unwrap_or(0));
            }
        }
    }

    /// The first moment of the next day.
    pub(super) fn end(&self) -> i64 {
        self.start + DAY_MS
    }
}

/// The downtimes of several days.
#[derive(Debug)]
pub(super) struct Downtimes<'a> {
    /// Those that are listed, joined where midnight cut them.
    pub(super) listed: Vec<Span>,
    days: &'a [Day],
}

impl<'a> Downtimes<'a> {
    pub(super) fn of(days: &'a [Day]) -> Self {
        let listed = coalesce(days.iter().flat_map(|day| day.downtimes.iter().cloned()).collect());
        Self { listed, days }
    }

    /// How many there are within `[from, to)`, and how many seconds altogether. Those that are not listed count with the hour
    /// that they began in.
    pub(super) fn sum(&self, from: i64, to: i64) -> (usize, f64) {
        let listed = clip(&self.listed, from, to);
        let listed =
            listed.fold((0, 0.0), |(count, seconds), s| (count + 1, seconds + s.seconds()));
        let within = self.days.iter().filter(|day| day.end() > from && day.start < to);
        let hours = within.flat_map(|day| {
            let begin = move |hour: &u8| day.start + i64::from(*hour) * HOUR_MS;
            day.unlisted.iter().map(move |(hour, rest)| (begin(hour), *rest))
        });
        let rest = hours.filter(|(begin, _)| (from..to).contains(begin));
        rest.fold(listed, |(count, seconds), (_, rest)| {
            (count + rest.count as usize, seconds + f64::from(rest.ms) / 1000.0)
        })
    }
}

#[cfg(test)]
#[path = "day_tests.rs"]
mod tests;
