//! The report's moving parts: reads samples, keeps the counts, writes the roll-ups.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use chrono::NaiveDate;
use tracing::{debug, warn};
use watchkeep_catalog::{
    Client, ClientError,
    client::{Compare, Op, Txn},
    keys,
};

use super::{
    config::{Objective, SloConfig},
    day::{DAYS_MAX, Day, DayRecord},
    metrics::Metrics,
    probes::Probes,
    report::{Report, Window},
    time::{DAY_MS, HOUR_MS, MINUTE_MS, day_of},
    track::{REACH_MS, Track},
    world::World,
};
use crate::source::{Source, SourceError};

/// Counts younger than this are not refreshed for another request.
const FRESH_MS: i64 = 250;
/// Day records deleted at once.
const DELETED_MAX: usize = 256;

/// A service's counts and when they were last counted anew.
#[derive(Debug)]
struct Entry {
    track: Track,
    replayed_at: i64,
}

/// Everything the report is made of.
pub(super) struct Engine {
    pub(super) config: SloConfig,
    pub(super) client: Client,
    pub(super) metrics: Metrics,
    source: Arc<dyn Source>,
    world: Mutex<World>,
    entries: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Entry>>>>,
}

impl Engine {
    pub(super) fn new(
        config: SloConfig,
        client: Client,
        source: Arc<dyn Source>,
        metrics: Metrics,
    ) -> Self {
        let (world, entries) = Default::default();
        Self { config, client, metrics, source, world, entries }
    }

    /// The registry as it was last heard of. The lock is never held across an await.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the counts up to `now`, reading as little as will do, and says what `then` makes of them.
    async fn with_track<T>(
        &self,
        service: &str,
        now: i64,
        then: impl FnOnce(&Track) -> T,
    ) -> Result<T, SourceError> {
        let entry = {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Entry { track: Track::new(now), replayed_at: i64::MIN };
            let entry = entries.entry(service.to_owned());
            Arc::clone(entry.or_insert_with(|| Arc::new(tokio::sync::Mutex::new(new()))))
        };
        let mut entry = entry.lock().await;
        if now >= entry.track.now().saturating_add(FRESH_MS) {
            self.refresh(service, &mut entry, now).await?;
        }
        Ok(then(&entry.track))
    }

    async fn refresh(&self, service: &str, entry: &mut Entry, now: i64) -> Result<(), SourceError> {
        let (roles, latency_ms) = {
            let world = self.world();
            (world.roles(service), Objective::of(&self.config, world.target(service)).latency_ms)
        };
        let track = &mut entry.track;
        while track.is_behind(now) {
            let span = (track.base(), track.base() + HOUR_MS);
            track.settle(&self.probes(service, span, latency_ms).await?, &roles);
            entry.replayed_at = i64::MIN;
        }
        if now >= entry.replayed_at.saturating_add(MINUTE_MS) {
            let span = (track.base(), now);
            track.replay(&self.probes(service, span, latency_ms).await?, &roles, now);
            entry.replayed_at = now;
        } else {
            let span = (track.near(), now);
            track.extend(&self.probes(service, span, latency_ms).await?, &roles, now);
        }
        Ok(())
    }

    async fn probes(
        &self,
        service: &str,
        span: (i64, i64),
        latency_ms: u64,
    ) -> Result<Probes, SourceError> {
        // A page that shows the last probes has been scraped by some job: those are not the probes themselves.
        let of = format!("{{service=\"{service}\",job=\"\"}}");
        let success = format!("probe_success{of}");
        let duration = format!("probe_duration_seconds{of}");
        let success = self.source.select(&success, span.0, span.1).await?;
        if success.is_empty() {
            return Ok(Probes::default());
        }
        let duration = self.source.select(&duration, span.0, span.1).await?;
        Ok(Probes::join(&success, &duration, span, latency_ms))
    }

    /// The report on a service that the world knows.
    pub(super) async fn report(
        &self,
        service: &str,
        windows: &[Window],
        now: i64,
    ) -> Result<Report, SourceError> {
        let began = Instant::now();
        let report = self
            .with_track(service, now, |track| {
                let world = self.world();
                let objective = Objective::of(&self.config, world.target(service));
                let start = windows.iter().map(|w| w.start(track.now())).min();
                let days = merged(&world, service, track, start.unwrap_or(now));
                Report::of(service, objective, windows, &days, track)
            })
            .await;
        self.metrics.report_seconds.observe(began.elapsed().as_secs_f64());
        report
    }

    /// Forgets the counts of services that the world no longer knows.
    pub(super) fn forget(&self, known: &std::collections::BTreeSet<String>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|service, _| known.contains(service));
    }

    /// Writes the service's days as far as they changed: those of the unsettled hours, or (`whole`) all that
    /// raw samples reach. Every write is fenced by `leader`, the create revision of the leader's key.
    pub(super) async fn roll_up(
        &self,
        service: &str,
        now: i64,
        leader: i64,
        whole: bool,
    ) -> Result<(), SourceError> {
        let days = self
            .with_track(service, now, |track| {
                let world = self.world();
                let from = if whole { now - REACH_MS } else { track.base() };
                let roles = world.roles(service).export();
                let record = |day: Day| day.record(service, roles.clone(), track.now());
                merged(&world, service, track, from).into_iter().map(record).collect::<Vec<_>>()
            })
            .await?;
        for record in days {
            let revision = match self.world().day(service, record.day) {
                Some(stored) if !differs(&stored.record, &record) => continue,
                Some(stored) => stored.mod_revision,
                None if is_empty(&record) => continue,
                None => 0,
            };
            let result = match self.write(record, revision, leader).await {
                Ok(true) => "written",
                Ok(false) => "fenced",
                Err(error) => {
                    warn!(%service, %error, "roll-up not written; the next one is in a minute");
                    "failed"
                }
            };
            self.metrics.rollups.with_label_values(&[result]).inc();
        }
        Ok(())
    }

    async fn write(
        &self,
        record: DayRecord,
        revision: i64,
        leader: i64,
    ) -> Result<bool, ClientError> {
        let key = keys::slo_day(&record.service, &record.day.to_string());
        let txn = Txn::new()
            .when(Compare::create_revision(keys::ALERTING_LEADER, leader))
            .when(Compare::mod_revision(&key, revision))
            .then(Op::put_json(&key, &record)?);
        let outcome = self.client.txn(txn).await?;
        if outcome.succeeded {
            self.world().wrote(record, outcome.revision);
        }
        Ok(outcome.succeeded)
    }

    /// Deletes day records that no window reaches, some at a time.
    pub(super) async fn delete_old(&self, now: i64, leader: i64) -> Result<(), ClientError> {
        let horizon = day_of(now - DAYS_MAX * DAY_MS);
        let old = self.world().days_before(horizon, DELETED_MAX);
        for key in old {
            debug!(%key, "day record is older than any window");
            let fence = Compare::create_revision(keys::ALERTING_LEADER, leader);
            self.client.txn(Txn::new().when(fence).then(Op::delete(&key))).await?;
        }
        Ok(())
    }
}

/// The days from the one of `from` to today, merged from records and counts.
fn merged(world: &World, service: &str, track: &Track, from: i64) -> Vec<Day> {
    let causes = world.causes(service);
    let today = day_of(track.now());
    let days = day_of(from).iter_days().take_while(|day| *day <= today);
    let merge = |day: NaiveDate| {
        Day::merge(day, world.day(service, day).map(|s| &s.record), Some(track), &causes)
    };
    days.map(merge).collect()
}

/// Whether the registry has to hear of it. A downtime that goes on is known up to `updated_at`: that counts.
fn differs(stored: &DayRecord, fresh: &DayRecord) -> bool {
    let unchanged = DayRecord { updated_at: stored.updated_at, ..fresh.clone() } == *stored;
    !unchanged || fresh.downtimes.iter().any(|d| d.end.is_none())
}

fn is_empty(record: &DayRecord) -> bool {
    record.downtimes.is_empty() && record.hours.iter().all(|h| h.total == 0)
}
