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
        openslo,
        time::{DAY_MS, HOUR_MS, day_of, floor, instant},
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

    /// Counts what OpenSLO documents measure in the current hour and the last, or (`whole`) as far as raw samples reach, and
    /// writes it as the days of what they promise.
    pub(in super::super) async fn count_documents(&self, now: i64, leader: i64, whole: bool) {
        let reach = if whole { REACH_MS - HOUR_MS } else { HOUR_MS };
        let from = floor(now, HOUR_MS) - reach;
        for (key, slo) in self.documents.get().into_iter().flatten() {
            if let Err(error) = self.count_document(key, slo, (from, now), leader).await {
                warn!(slo = %slo.name, %error, "OpenSLO document not counted; again in a minute");
            }
        }
    }

    async fn count_document(
        &self,
        key: &str,
        slo: &openslo::Slo,
        (from, now): (i64, i64),
        leader: i64,
    ) -> Result<(), SourceError> {
        let mut counted: BTreeMap<NaiveDate, Vec<(usize, Bucket)>> = BTreeMap::new();
        let mut hour = from;
        while hour < now {
            let until = (hour + HOUR_MS).min(floor(now, 1_000));
            if until > hour {
                let bucket = openslo::count(&*self.source, slo, hour, until).await?;
                let index = usize::try_from((hour - floor(hour, DAY_MS)) / HOUR_MS).unwrap_or(0);
                counted.entry(day_of(hour)).or_default().push((index, bucket));
            }
            hour += HOUR_MS;
        }
        for (day, hours) in counted {
            let stored = self.world().day(key, day).cloned();
            let revision = stored.as_ref().map_or(0, |stored| stored.mod_revision);
            let none = || Day::merge(day, None, None, &[]).record(key, BTreeMap::new(), now);
            let before = stored.map_or_else(none, |stored| stored.record);
            let mut record = before.clone();
            for (index, fresh) in hours {
                record.hours[index] = fresh.or_fuller(before.hours[index]);
            }
            record.updated_at = instant(now);
            if is_empty(&record) || !differs(&before, &record) {
                continue;
            }
            let result = match self.write(record, revision, leader).await {
                Ok(true) => "written",
                Ok(false) => "fenced",
                Err(error) => {
                    warn!(slo = %slo.name, %error, "roll-up not written; the next one is in a minute");
                    "failed"
                }
            };
            self.metrics.rollups.with_label_values(&[result]).inc();
        }
        Ok(())
    }
}
