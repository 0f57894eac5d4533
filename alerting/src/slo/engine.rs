//! The report's moving parts: reads samples, keeps the counts, writes the roll-ups.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use chrono::NaiveDate;
use chrono_tz::Tz;
use tracing::{debug, warn};
use watchkeep_catalog::{
    Client, ClientError,
    client::{Compare, Op, Txn},
    keys,
};

use super::{
    bucket::Bucket,
    config::{Objective, SloConfig},
    day::{Day, DayRecord},
    detail::{Counted, Detail},
    interval::explain,
    latency::Latency,
    metrics::Metrics,
    openslo,
    probes::Probes,
    range::Range,
    report::{Report, Window},
    sweep::State,
    time::{DAY_MS, HOUR_MS, MINUTE_MS, day_of, day_start},
    track::{MINUTES_MS, REACH_MS, Track},
    world::World,
};
use crate::source::{Source, SourceError};

mod documents;

/// Counts younger than this are not refreshed for another request.
const FRESH_MS: i64 = 250;
/// Day records deleted at once: as many an hour as a full registry of services leaves behind in a day.
const DELETED_MAX: usize = 10_000;
/// Day records deleted in one transaction.
const DELETED_TOGETHER: usize = 100;

/// A service's counts and when they were last counted anew.
#[derive(Debug)]
struct Entry {
    track: Track,
    replayed_at: i64,
}

/// What a report in detail is made of, apart from the lock that it was counted under.
#[derive(Debug)]
pub(super) struct Material {
    service: String,
    objective: Objective,
    state: State,
    now: i64,
    days: Vec<Day>,
    minutes: Vec<(i64, Bucket)>,
    latency: Latency,
}

impl Material {
    /// The range that was asked for at `now`: counts may be a moment older, and one that ends now ends with them.
    pub(super) fn range(&self, asked: &Range, now: i64) -> Range {
        let to = if asked.to == now { self.now } else { asked.to };
        Range { to, ..asked.clone() }
    }

    pub(super) fn counted(&self) -> Counted<'_> {
        Counted {
            service: &self.service,
            objective: self.objective,
            state: self.state,
            now: self.now,
            days: &self.days,
            minutes: &self.minutes,
            latency: &self.latency,
        }
    }
}

/// Everything the report is made of.
pub(super) struct Engine {
    pub(super) config: SloConfig,
    pub(super) client: Client,
    pub(super) metrics: Metrics,
    source: Arc<dyn Source>,
    world: Mutex<World>,
    entries: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Entry>>>>,
    /// The reports that the loop made last, over all windows.
    latest: Mutex<BTreeMap<String, Arc<Report>>>,
    /// OpenSLO documents by their keys.
    documents: OnceLock<BTreeMap<String, openslo::Slo>>,
}

impl Engine {
    pub(super) fn new(
        config: SloConfig,
        client: Client,
        source: Arc<dyn Source>,
        metrics: Metrics,
    ) -> Self {
        let (world, entries, latest, documents) = Default::default();
        Self { config, client, metrics, source, world, entries, latest, documents }
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
        let track = &mut entry.track;
        let (roles, latency_ms) = {
            let world = self.world();
            let latency_ms = Objective::of(&self.config, world.target(service)).latency_ms;
            (world.counting(service, track.base(), now), latency_ms)
        };
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
                let start = Window::Month.start(track.now());
                let days = merged(&world, service, track, start);
                Report::of(service, objective, windows, &days, track)
            })
            .await;
        self.metrics.report_seconds.observe(began.elapsed().as_secs_f64());
        report
    }

    /// What a report on `range` is made of; nothing where a service is not known.
    pub(super) async fn material(
        &self,
        service: &str,
        range: &Range,
        now: i64,
    ) -> Result<Material, SourceError> {
        self.with_track(service, now, |track| {
            let world = self.world();
            let kept = now - i64::from(self.config.retention_days) * DAY_MS;
            let first = world.first_day(service).map_or(now - REACH_MS, day_start);
            let days = merged(&world, service, track, first.min(now - REACH_MS).max(kept));
            // Hours are at hand as far as samples reach; behind that, days are.
            let latency = if range.from >= now - REACH_MS {
                let hour = |ms: i64| ms.div_euclid(HOUR_MS);
                track.latency(hour(range.from)..hour(range.to - 1) + 1)
            } else {
                let mut sum = Latency::default();
                let within = days.iter().filter(|d| d.end() > range.from && d.start < range.to);
                within.for_each(|day| sum.add(&day.latency));
                sum
            };
            Material {
                service: service.to_owned(),
                objective: Objective::of(&self.config, world.target(service)),
                state: track.state(),
                now: track.now(),
                minutes: track.minutes(track.now() - MINUTES_MS - MINUTE_MS).collect(),
                days,
                latency,
            }
        })
        .await
    }

    /// The report in detail on a service that the world knows.
    pub(super) async fn detail(
        &self,
        service: &str,
        range: &Range,
        zone: Tz,
        now: i64,
    ) -> Result<Detail, SourceError> {
        let material = self.material(service, range, now).await?;
        let range = material.range(range, now);
        Ok(Detail::of(material.counted(), &range, zone))
    }

    /// Keeps what the loop has reported, so that lists need not count again.
    pub(super) fn keep(&self, report: Report) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.insert(report.service.clone(), Arc::new(report));
    }

    /// What the loop reported last on a service, unless that is older than `age_ms_max`.
    pub(super) fn kept(&self, service: &str, now: i64, age_ms_max: i64) -> Option<Arc<Report>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let report = latest.get(service)?;
        (report.as_of.timestamp_millis() + age_ms_max >= now).then(|| Arc::clone(report))
    }

    /// Forgets the counts of services that the world no longer knows.
    pub(super) fn forget(&self, known: &std::collections::BTreeSet<String>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|service, _| known.contains(service));
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.retain(|service, _| known.contains(service));
    }

    /// Writes the service's days as far as they changed `since` then, or all that raw samples reach. Every write is fenced by
    /// `leader`, the create revision of the leader's key. Answers since when the next roll-up is to be; nothing when a
    /// write failed, so that the same days are due again.
    pub(super) async fn roll_up(
        &self,
        service: &str,
        now: i64,
        leader: i64,
        since: Option<i64>,
    ) -> Result<Option<i64>, SourceError> {
        let (records, unsettled) = self.records(service, now, since).await?;
        let mut all_written = true;
        for record in records {
            let revision = match self.world().day(service, record.day) {
                Some(stored) if !differs(&stored.record, &record) => continue,
                Some(stored) => stored.mod_revision,
                None if is_empty(&record) => continue,
                None => 0,
            };
            all_written &= self.write_counted(record, revision, leader).await;
        }
        Ok(all_written.then_some(unsettled))
    }

    /// The service's days as they are to be recorded, from that of `since` on, or all that samples reach; and when the hours
    /// begin that are not settled yet.
    pub(super) async fn records(
        &self,
        service: &str,
        now: i64,
        since: Option<i64>,
    ) -> Result<(Vec<DayRecord>, i64), SourceError> {
        self.with_track(service, now, |track| {
            let world = self.world();
            let from = since.unwrap_or(now - REACH_MS).min(track.base());
            let roles = world.roles(service).export();
            let record = |day: Day| day.record(service, roles.clone(), track.now());
            (merged(&world, service, track, from).into_iter().map(record).collect(), track.base())
        })
        .await
    }

    /// Writes a record, and counts what came of it. True when the registry has it.
    async fn write_counted(&self, record: DayRecord, revision: i64, leader: i64) -> bool {
        let service = record.service.clone();
        let result = match self.write(record, revision, leader).await {
            Ok(true) => "written",
            Ok(false) => "fenced",
            Err(error) => {
                warn!(%service, %error, "roll-up not written; it is tried again in a minute");
                "failed"
            }
        };
        self.metrics.rollups.with_label_values(&[result]).inc();
        result == "written"
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
        let horizon = day_of(now - i64::from(self.config.retention_days) * DAY_MS);
        let old = self.world().days_before(horizon, DELETED_MAX);
        for keys in old.chunks(DELETED_TOGETHER) {
            debug!(?keys, "day records are older than any window");
            let fence = Compare::create_revision(keys::ALERTING_LEADER, leader);
            let txn =
                keys.iter().fold(Txn::new().when(fence), |txn, key| txn.then(Op::delete(key)));
            self.client.txn(txn).await?;
        }
        Ok(())
    }
}

/// The days from the one of `from` to today, merged from records and counts.
fn merged(world: &World, service: &str, track: &Track, from: i64) -> Vec<Day> {
    let causes = world.causes(service);
    let excuses = world.excuses(service, track.now() - REACH_MS, track.now());
    let today = day_of(track.now());
    let days = day_of(from).iter_days().take_while(|day| *day <= today);
    // A day that no sample reaches is as it was recorded.
    let reached = track.now() - REACH_MS - 2 * HOUR_MS;
    let merge = |day: NaiveDate| {
        let track = Some(track).filter(|_| day_start(day) + DAY_MS > reached);
        let stored = world.day(service, day).map(|s| &s.record);
        let mut merged = Day::merge(day, stored, track, &causes);
        explain(&mut merged.maintenance, &excuses);
        merged
    };
    days.map(merge).collect()
}

/// Whether the registry has to hear of it. A downtime that goes on is known up to `updated_at`: that counts.
fn differs(stored: &DayRecord, fresh: &DayRecord) -> bool {
    let unchanged = DayRecord { updated_at: stored.updated_at, ..fresh.clone() } == *stored;
    !unchanged || fresh.downtimes.iter().any(|d| d.end.is_none())
}

fn is_empty(record: &DayRecord) -> bool {
    record.downtimes.is_empty()
        && record.maintenance.is_empty()
        && record.hours.iter().all(|hour| hour.seen() == 0)
}
