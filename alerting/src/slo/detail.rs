//! A report in detail on one service over any span: what `/v1/slo/{service}/report` says. Pure.
//!
//! ```text
//! days (records and counts) ─┬─▶ attainment, budgets, when they run out
//! minutes (last six hours) ──┴─▶ burn rates        ─▶ Detail ─▶ JSON, HTML, CSV, Markdown, badge, gate
//! ```

use chrono_tz::Tz;
use serde::Serialize;
use watchkeep_catalog::Time;

use super::{
    bucket::Bucket,
    budget::{Budget, Standing},
    config::Objective,
    day::{Day, Downtimes},
    interval::{Span, clip, coalesce},
    latency::Latency,
    openslo,
    range::{self, Range},
    report::{DowntimeSum, Interval},
    sweep::State,
    time::{HOUR_MS, MINUTE_MS, floor, instant},
};

mod badge;
mod burn;
mod chart;
mod csv;
mod markdown;
mod pace;
mod page;

pub(super) use badge::badge;
pub use burn::{Burn, BurnRate, Sparse};
pub(super) use burn::{CONFIRMING, SHORT, WINDOWS, burn_rates};
pub(super) use csv::csv;
pub(super) use markdown::markdown;
use pace::Pace;
pub(super) use page::page;

/// Downtimes that are listed, the latest first.
const LISTED_MAX: usize = 1_000;

/// One objective over the range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attainment {
    /// Share of probes that should be good.
    pub objective: f64,
    /// How it stands.
    #[serde(flatten)]
    pub budget: Budget,
    /// When nothing is left of it, if probes go on to come as they did; none when it will not be in this range, when it is
    /// spent already, or when the range is over.
    pub runs_out_at: Option<Time>,
}

/// Within which times probes were answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Percentiles {
    /// Good probes whose time is known. In ranges longer than a day, those of whole UTC days.
    pub probes: u64,
    /// Half of them.
    pub p50_seconds: Option<f64>,
    /// Nine in ten.
    pub p90_seconds: Option<f64>,
    /// 99 in 100.
    pub p99_seconds: Option<f64>,
    /// 999 in 1000.
    pub p999_seconds: Option<f64>,
    /// They are off by at most this share.
    pub error_ratio: f64,
}

impl Percentiles {
    fn of(latency: &Latency) -> Self {
        let quantile = |q| latency.quantile(q).map(|time| time.as_secs_f64());
        Self {
            probes: latency.probes(),
            p50_seconds: quantile(0.5),
            p90_seconds: quantile(0.9),
            p99_seconds: quantile(0.99),
            p999_seconds: quantile(0.999),
            error_ratio: Latency::ERROR,
        }
    }
}

/// What did not count.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Excluded {
    /// Time in which the whole service was in maintenance.
    pub seconds: f64,
    /// Probes that did not count; also those of single instances in maintenance.
    pub probes: u64,
    /// When the whole service was in maintenance, the latest first.
    pub spans: Vec<Interval>,
}

/// A day or a month on the wall clock, as far as the range reaches into a day; months are whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Period {
    /// `2026-06` or `2026-06-01`.
    pub name: String,
    /// Its first moment.
    pub from: Time,
    /// The first moment behind it.
    pub to: Time,
    /// Its probes.
    pub probes: Bucket,
    /// Share of probes that succeeded.
    pub availability_ratio: Option<f64>,
    /// Share of probes that succeeded in time.
    pub latency_ratio: Option<f64>,
    /// How it stands.
    pub status: Standing,
    /// Time it was down.
    pub downtime_seconds: f64,
    /// How often.
    pub downtimes: usize,
    /// Time it was in maintenance.
    pub maintenance_seconds: f64,
}

/// How much is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// Hours in the range.
    pub hours: u64,
    /// Those with probes.
    pub hours_with_probes: u64,
    /// The range since its first probe, less maintenance: what budgets in seconds are shares of.
    pub probed_seconds: f64,
}

/// What is reported on one service over one range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detail {
    /// The service, or the OpenSLO document.
    pub service: String,
    /// The moment of the report.
    pub as_of: Time,
    /// The range as it was asked for.
    pub window: String,
    /// Its first moment.
    pub from: Time,
    /// The first moment behind it.
    pub to: Time,
    /// Whose calendar the days and months are on.
    pub time_zone: String,
    /// How the service is now.
    pub state: State,
    /// The worse of the two objectives.
    pub status: Standing,
    /// What was promised.
    pub objective: Objective,
    /// How much is known.
    pub coverage: Coverage,
    /// The probes.
    pub probes: Bucket,
    /// Probes that succeed.
    pub availability: Attainment,
    /// Probes that succeed in time.
    pub latency: Attainment,
    /// Time it was down.
    pub downtime: DowntimeSum,
    /// Times of good probes.
    pub percentiles: Percentiles,
    /// Burn rates up to now.
    pub burn: Vec<BurnRate>,
    /// Set when probes are too sparse for one to mean anything.
    pub sparse: Option<Sparse>,
    /// What did not count.
    pub maintenance: Excluded,
    /// Downtimes, the latest first.
    pub downtimes: Vec<Interval>,
    /// All months of which something is known, whole, the latest last.
    pub months: Vec<Period>,
    /// The days of the range.
    pub days: Vec<Period>,
}

/// Counts by the hour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hours<'a>(pub(super) &'a [Day]);

impl Hours<'_> {
    /// Those that begin within `[from, to)`.
    fn within(self, from: i64, to: i64) -> impl Iterator<Item = (i64, Bucket)> {
        let days = self.0.iter().filter(move |day| day.end() > from && day.start < to);
        let hours = days.flat_map(|day| {
            let starts = (0i64..).map(move |index| day.start + index * HOUR_MS);
            starts.zip(day.hours)
        });
        hours.filter(move |(start, _)| (from..to).contains(start))
    }

    /// Their sum.
    pub(super) fn sum(self, from: i64, to: i64) -> Bucket {
        self.within(from, to).fold(Bucket::default(), |mut sum, (_, hour)| {
            sum.add(hour);
            sum
        })
    }

    /// The start of the first one with probes.
    pub(super) fn first(self) -> Option<i64> {
        self.within(i64::MIN, i64::MAX).find(|(_, hour)| hour.seen() > 0).map(|(start, _)| start)
    }

    /// The same by the minute, where `minutes` (of the last six hours) know it.
    pub(super) fn begun(self, minutes: &[(i64, Bucket)]) -> Option<i64> {
        let hour = self.first()?;
        let minute = minutes.iter().find(|(_, minute)| minute.seen() > 0);
        let minute = minute.map(|(at, _)| at * MINUTE_MS);
        Some(minute.filter(|at| floor(*at, HOUR_MS) == hour).unwrap_or(hour))
    }
}

/// What a report is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted<'a> {
    pub(super) service: &'a str,
    pub(super) objective: Objective,
    pub(super) state: State,
    pub(super) now: i64,
    /// All days that are kept, ascending.
    pub(super) days: &'a [Day],
    /// Counts of the last six hours by the minute.
    pub(super) minutes: &'a [(i64, Bucket)],
    /// How long the good probes of the range took.
    pub(super) latency: &'a Latency,
}

impl Detail {
    /// Whether it is on an OpenSLO document, which promises nothing about times of answers.
    fn is_document(&self) -> bool {
        openslo::is_key(&self.service)
    }

    /// The report on `range`, with days and months on `zone`'s calendar.
    pub(super) fn of(counted: Counted<'_>, range: &Range, zone: Tz) -> Self {
        let Counted { objective, now, days, .. } = counted;
        let hours = Hours(days);
        let all = |spans: fn(&Day) -> &Vec<Span>| {
            coalesce(days.iter().flat_map(|day| spans(day).iter().cloned()).collect())
        };
        let (down, excused) = (Downtimes::of(days), all(|day| &day.maintenance));
        let (from, to) = (range.from, range.to);
        let probes = hours.sum(from, to);
        let period = |name: String, from: i64, to: i64| {
            period(name, (from, to), objective, hours, (&down, &excused[..]))
        };
        let burn = burn_rates(now, objective, counted.minutes, hours);
        let maintenance_seconds = seconds(&excused, from, to);
        let probed_seconds = probed(hours.begun(counted.minutes), (from, to), &excused);
        let (count, down_seconds) = down.sum(from, to);
        let downtime = DowntimeSum { count, seconds: down_seconds };
        let pace = Pace::of(&counted, range);
        let attainment = |good: fn(&Bucket) -> u64| {
            let promised = objective.availability;
            let budget = Budget::of(probes.total, good(&probes), promised, probed_seconds);
            Attainment {
                objective: promised,
                budget,
                runs_out_at: pace.runs_out_at(range, &budget, objective, good),
            }
        };
        let availability = attainment(|bucket| bucket.good);
        let latency = attainment(|bucket| bucket.fast);
        let first = hours.first().unwrap_or(from);
        let months = range::months(zone, first, now);
        let dates = range::days(zone, from, to);
        Self {
            service: counted.service.to_owned(),
            as_of: instant(now),
            window: range.name.clone(),
            from: instant(from),
            to: instant(to),
            time_zone: zone.name().to_owned(),
            state: counted.state,
            status: availability.budget.status.max(latency.budget.status),
            objective,
            coverage: Coverage {
                hours: ((to - from) as u64).div_ceil(HOUR_MS as u64),
                hours_with_probes: hours.within(from, to).filter(|(_, h)| h.seen() > 0).count()
                    as u64,
                probed_seconds,
            },
            probes,
            percentiles: Percentiles::of(counted.latency),
            sparse: Sparse::of(&burn, objective),
            burn,
            maintenance: Excluded {
                seconds: maintenance_seconds,
                probes: probes.excluded,
                spans: latest(&excused, from, to),
            },
            downtimes: latest(&down.listed, from, to),
            downtime,
            months: months
                .windows(2)
                .map(|pair| {
                    let (from, to) =
                        (range::midnight(zone, pair[0]), range::midnight(zone, pair[1]));
                    period(pair[0].format("%Y-%m").to_string(), from, to.min(now))
                })
                .collect(),
            days: dates
                .windows(2)
                .map(|pair| {
                    let begin = range::midnight(zone, pair[0]).max(from);
                    period(pair[0].to_string(), begin, range::midnight(zone, pair[1]).min(to))
                })
                .collect(),
            availability,
            latency,
        }
    }
}

fn seconds(spans: &[Span], from: i64, to: i64) -> f64 {
    // Not `sum`: of no floats that is -0.
    clip(spans, from, to).map(|span| span.seconds()).fold(0.0, |all, one| all + one)
}

/// The time since the first probe that counts. Where there was none, the whole of it would.
pub(super) fn probed(begun: Option<i64>, (from, to): (i64, i64), excused: &[Span]) -> f64 {
    let from = begun.map_or(from, |begun| begun.clamp(from, to));
    (to - from) as f64 / 1000.0 - seconds(excused, from, to)
}

fn latest(spans: &[Span], from: i64, to: i64) -> Vec<Interval> {
    let mut spans: Vec<_> = clip(spans, from, to).map(Interval::from).collect();
    spans.reverse();
    spans.truncate(LISTED_MAX);
    spans
}

fn period(
    name: String,
    (from, to): (i64, i64),
    objective: Objective,
    hours: Hours<'_>,
    (down, excused): (&Downtimes<'_>, &[Span]),
) -> Period {
    let probes = hours.sum(from, to);
    let all = (to - from) as f64 / 1000.0;
    let budget = |good| Budget::of(probes.total, good, objective.availability, all);
    let (availability, latency) = (budget(probes.good), budget(probes.fast));
    let (downtimes, downtime_seconds) = down.sum(from, to);
    Period {
        name,
        from: instant(from),
        to: instant(to),
        probes,
        availability_ratio: availability.ratio,
        latency_ratio: latency.ratio,
        status: availability.status.max(latency.status),
        downtime_seconds,
        downtimes,
        maintenance_seconds: seconds(excused, from, to),
    }
}

#[cfg(test)]
pub(super) mod tests;
