//! What OpenSLO documents promise, counted by the hour into the same days as services have.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use tracing::warn;
use watchkeep_catalog::SloTarget;

use super::{Engine, differs, is_empty};
use crate::{
    slo::{
        bucket::Bucket,
        day::Day,
        interval::{Span, clip, coalesce},
        openslo,
        time::{DAY_MS, HOUR_MS, day_of, day_start, floor, instant},
        track::REACH_MS,
    },
    source::SourceError,
};

impl Engine {
    /// Takes in OpenSLO documents; once.
    pub(in super::super) fn document(&self, slos: Vec<openslo::Slo>) {
        let promise =
            |slo: &openslo::Slo| SloTarget { availability: Some(slo.target), latency_ms: None };
        self.world().promise(slos.iter().map(|slo| (slo.key(), promise(slo))).collect());
        let documents = slos.into_iter().map(|slo| (slo.key(), slo)).collect();
        drop(self.documents.set(documents));
    }

    /// The OpenSLO document of this key.
    pub(in super::super) fn openslo(&self, key: &str) -> Option<&openslo::Slo> {
        self.documents.get()?.get(key)
    }

    /// Counts what OpenSLO documents measure since the hour that `counted` says, or as far as raw samples reach, and writes
    /// it as the days of what they promise. What is written moves `counted` on.
    pub(in super::super) async fn count_documents(
        &self,
        now: i64,
        leader: i64,
        counted: &mut BTreeMap<String, i64>,
    ) {
        let hour = floor(now, HOUR_MS);
        let reached = hour - (REACH_MS - HOUR_MS);
        for (key, slo) in self.documents.get().into_iter().flatten() {
            let from = counted.get(key).map_or(reached, |since| (*since).max(reached));
            match self.count_document(key, slo, (from, now), leader).await {
                // The last hour may still change: samples come late.
                Ok(true) => {
                    counted.insert(key.clone(), hour - HOUR_MS);
                }
                Ok(false) => {}
                Err(error) => {
                    warn!(slo = %slo.name, %error, "OpenSLO document not counted; again in a minute");
                }
            }
        }
    }

    async fn count_document(
        &self,
        key: &str,
        slo: &openslo::Slo,
        (from, now): (i64, i64),
        leader: i64,
    ) -> Result<bool, SourceError> {
        let away = self.world().away(&slo.service, from, now);
        let mut counted: BTreeMap<NaiveDate, Vec<(usize, Bucket)>> = BTreeMap::new();
        let mut hour = from;
        while hour < now {
            let until = (hour + HOUR_MS).min(floor(now, 1_000));
            let mut bucket = Bucket::default();
            for (start, end, counts) in pieces(&away, hour, until) {
                let found = openslo::count(&*self.source, slo, start, end).await?;
                let excluded = Bucket { excluded: found.total, ..Bucket::default() };
                bucket.add(if counts { found } else { excluded });
            }
            let index = usize::try_from((hour - floor(hour, DAY_MS)) / HOUR_MS).unwrap_or(0);
            counted.entry(day_of(hour)).or_default().push((index, bucket));
            hour += HOUR_MS;
        }
        let mut all_written = true;
        for (day, hours) in counted {
            let stored = self.world().day(key, day).cloned();
            let revision = stored.as_ref().map_or(0, |stored| stored.mod_revision);
            let none = || Day::merge(day, None, None, &[]).record(key, BTreeMap::new(), now);
            let before = stored.map_or_else(none, |stored| stored.record);
            let mut record = before.clone();
            for (index, fresh) in hours {
                record.hours[index] = fresh.or_fuller(before.hours[index]);
            }
            let start = day_start(day);
            let known: Vec<_> =
                before.maintenance.iter().map(|span| Span::of(span, before.updated_at)).collect();
            let spans = clip(&known, start, from).chain(clip(&away, start, start + DAY_MS));
            record.maintenance = coalesce(spans.collect()).into_iter().map(Span::record).collect();
            record.updated_at = instant(now);
            if is_empty(&record) || !differs(&before, &record) {
                continue;
            }
            all_written &= self.write_counted(record, revision, leader).await;
        }
        Ok(all_written)
    }
}

/// `[from, to)` in pieces: those that count, and those in which the service was away. What is shorter than a second is left out.
fn pieces(away: &[Span], from: i64, to: i64) -> Vec<(i64, i64, bool)> {
    let mut pieces = Vec::new();
    let mut at = from;
    for span in clip(away, from, to) {
        pieces.extend([(at, span.start, true), (span.start, span.end, false)]);
        at = span.end;
    }
    pieces.push((at, to, true));
    pieces.retain(|(start, end, _)| end - start >= 1_000);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_away_is_apart() {
        let away = [Span::new(0, 2_000, false), Span::new(5_000, 7_500, false)];
        for (from, to, expected) in [
            (2_000, 5_000, vec![(2_000, 5_000, true)]),
            (1_000, 4_000, vec![(1_000, 2_000, false), (2_000, 4_000, true)]),
            (3_000, 9_000, vec![(3_000, 5_000, true), (5_000, 7_500, false), (7_500, 9_000, true)]),
            (3_000, 8_000, vec![(3_000, 5_000, true), (5_000, 7_500, false)]),
            (9_000, 9_000, vec![]),
        ] {
            assert_eq!(pieces(&away, from, to), expected, "{from} {to}");
        }
    }
}
