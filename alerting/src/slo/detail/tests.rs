//! Ranges over days, and how they are shown.

use chrono_tz::Tz;

use super::*;
use crate::slo::{
    day::Unlisted,
    interval::Cause,
    range::Wish,
    time::{DAY_MS, MINUTE_MS, day_of, day_start},
};

/// 1970-02-10 00:30.
const NOW: i64 = 40 * DAY_MS + 30 * MINUTE_MS;

fn empty_day(start: i64) -> Day {
    Day {
        start,
        hours: [Bucket::default(); 24],
        downtimes: Vec::new(),
        unlisted: Default::default(),
        maintenance: Vec::new(),
        latency: Latency::default(),
    }
}

/// Counts probes at `at`.
pub(super) fn fill(days: &mut Vec<Day>, at: i64, bucket: Bucket) {
    let start = day_start(day_of(at));
    let place = match days.binary_search_by_key(&start, |day| day.start) {
        Ok(place) => place,
        Err(place) => {
            days.insert(place, empty_day(start));
            place
        }
    };
    days[place].hours[((at - start) / HOUR_MS) as usize].add(bucket);
}

fn of(days: &[Day], window: &str, zone: Tz) -> Detail {
    let wish = Wish { window: Some(window), ..Wish::default() };
    let range = Range::of(wish, zone, NOW, 100).unwrap();
    let mut latency = Latency::default();
    days.iter().for_each(|day| latency.add(&day.latency));
    Detail::of(counted(days, &latency), &range, zone)
}

fn counted<'a>(days: &'a [Day], latency: &'a Latency) -> Counted<'a> {
    Counted {
        service: "web",
        objective: Objective { availability: 0.9999, latency_ms: 100 },
        state: State::Up,
        now: NOW,
        days,
        minutes: &[],
        latency,
    }
}

/// A report over 30 days with so many probes, of which so many were bad, all yesterday.
pub(in crate::slo) fn detail(total: u64, bad: u64) -> Detail {
    let mut days = Vec::new();
    let bucket = Bucket { total, good: total - bad, fast: total - bad, excluded: 0 };
    fill(&mut days, NOW - DAY_MS / 2, bucket);
    of(&days, "30d", Tz::UTC)
}

/// Forty days of 360 probes an hour: an hour down twenty days ago, half an hour of maintenance yesterday.
fn history() -> Vec<Day> {
    let mut days = Vec::new();
    for hour in 0..=NOW / HOUR_MS {
        let total = if hour == NOW / HOUR_MS { 180 } else { 360 };
        let bucket = match hour {
            480 => Bucket { total, good: 0, fast: 0, excluded: 0 },
            950 => Bucket { total: 180, good: 180, fast: 180, excluded: 180 },
            955 => Bucket { total, good: total, fast: total - 2, excluded: 0 },
            _ => Bucket { total, good: total, fast: total, excluded: 0 },
        };
        fill(&mut days, hour * HOUR_MS, bucket);
    }
    let mut down = Span::new(480 * HOUR_MS, 481 * HOUR_MS, false);
    down.cause = Cause {
        instance: Some("web-1".to_owned()),
        reason: Some("<b>refused</b> | \"why\"".to_owned()),
        incident: Some("inc-1".to_owned()),
        failover: Some("fo-1".to_owned()),
    };
    days[20].downtimes.push(down);
    let mut excused = Span::new(950 * HOUR_MS, 950 * HOUR_MS + 30 * MINUTE_MS, false);
    excused.cause.reason = Some("upgrade: new disks".to_owned());
    days[39].maintenance.push(excused);
    for day in &mut days {
        (0..900).for_each(|_| day.latency.count(20_000));
        (0..100).for_each(|_| day.latency.count(80_000));
    }
    days
}

#[test]
fn what_lies_in_the_range_counts() {
    let days = history();
    let found = of(&days, "30d", Tz::UTC);
    // Thirty days and half an hour.
    assert_eq!(found.probes.total, 30 * 24 * 360 + 180 - 180);
    assert_eq!((found.availability.budget.bad_probes, found.latency.budget.bad_probes), (360, 362));
    assert_eq!((found.downtime.count, found.downtime.seconds), (1, 3_600.0));
    assert_eq!((found.maintenance.seconds, found.maintenance.probes), (1_800.0, 180));
    let allowed = (30.0 * 86_400.0 + 1_800.0 - 1_800.0) * 0.0001;
    let budget = found.availability.budget;
    assert!((budget.budget_total_seconds - allowed).abs() < 1e-6);
    assert!((budget.budget_left_seconds - (allowed - 3_600.0)).abs() < 1e-6);
    assert_eq!(found.status, Standing::Breached);
    let last = of(&days, "24h", Tz::UTC);
    assert_eq!((last.downtime.count, last.availability.budget.bad_probes), (0, 0));
    assert_eq!(last.latency.budget.status, Standing::Breached);
    assert_eq!((last.coverage.hours, last.coverage.hours_with_probes), (25, 25));
    assert_eq!(last.coverage.probed_seconds, 24.5 * 3_600.0 - 1_800.0);
    assert!((found.percentiles.p50_seconds.unwrap() / 0.02 - 1.0).abs() < Latency::ERROR);
    assert!((found.percentiles.p99_seconds.unwrap() / 0.08 - 1.0).abs() < Latency::ERROR);
    assert_eq!(found.downtimes[0].cause.failover.as_deref(), Some("fo-1"));
}

#[test]
fn months_and_days_are_the_zone_s() {
    let found = of(&history(), "30d", Tz::Europe__Berlin);
    let months: Vec<_> =
        found.months.iter().map(|month| (month.name.as_str(), month.probes.total)).collect();
    // In Berlin, January began an hour before 1970 did.
    let january = (31 * 24 - 1) * 360;
    assert_eq!(months[0], ("1970-01", january));
    assert_eq!(months[1].0, "1970-02");
    assert_eq!(found.days.first().map(|day| day.name.as_str()), Some("1970-01-11"));
    let days: u64 = found.days.iter().map(|day| day.probes.total).sum();
    assert_eq!(days, found.probes.total);
}

#[test]
fn when_the_budget_runs_out() {
    let mut days = history();
    days.remove(20);
    let found = of(&days, "30d", Tz::UTC);
    // Of 25.1 allowed bad probes 2 are used up, and the last day (24 hours and a half) used 2: 11.8 days are left.
    let at = found.latency.runs_out_at.unwrap().timestamp_millis();
    let days_left = (at - NOW) as f64 / DAY_MS as f64;
    assert!((days_left - 11.77).abs() < 0.02, "{days_left}");
    assert_eq!(found.availability.runs_out_at, None);
}

#[test]
fn a_month_s_budget_grows_with_the_month() {
    // February is nine days old; of 360 probes an hour, so many fail in each hour of it.
    let month = |bad: u64| {
        let mut days = Vec::new();
        for hour in 0..NOW / HOUR_MS {
            let good = if hour < 31 * 24 { 100_000 } else { 100_000 - bad };
            fill(
                &mut days,
                hour * HOUR_MS,
                Bucket { total: 100_000, good, fast: good, excluded: 0 },
            );
        }
        of(&days, "month", Tz::UTC).availability
    };
    // Ten in a hundred thousand are allowed: five an hour go on for ever, and so do nine.
    assert_eq!(month(5).runs_out_at, None);
    assert_eq!(month(9).runs_out_at, None);
    assert_eq!(month(5).budget.status, Standing::Ok);
    assert_eq!(month(11).budget.status, Standing::Breached);
    assert_eq!(month(11).runs_out_at, None, "it is spent already");
}

#[test]
fn what_a_burst_leaves_of_a_month_runs_out_within_it_or_not() {
    let with = |bad: u64| {
        let mut days = Vec::new();
        for hour in 31 * 24..NOW / HOUR_MS {
            // The last day only.
            let good = if hour < NOW / HOUR_MS - 24 { 100_000 } else { 100_000 - bad };
            fill(
                &mut days,
                hour * HOUR_MS,
                Bucket { total: 100_000, good, fast: good, excluded: 0 },
            );
        }
        let at = of(&days, "month", Tz::UTC).availability.runs_out_at?;
        Some((at.timestamp_millis() - NOW) as f64 / DAY_MS as f64)
    };
    // 9 days have earned 2,160; the last one spent 480, and spends 240 more each day than it earns.
    let days = with(20).unwrap();
    assert!((days - 7.0 * 24.5 / 24.0).abs() < 0.01, "{days}");
    // It would last 40 days, and February has 19 left.
    assert_eq!(with(12), None);
}

#[test]
fn a_document_s_budget_in_time_is_its_share_of_bad_events() {
    let mut days = Vec::new();
    fill(
        &mut days,
        NOW - DAY_MS / 2,
        Bucket { total: 10_000, good: 9_998, fast: 9_998, excluded: 0 },
    );
    let latency = Latency::default();
    let range = Range::of(Wish::default(), Tz::UTC, NOW, 100).unwrap();
    let counted = Counted { service: "openslo.checkout", ..counted(&days, &latency) };
    let found = Detail::of(counted, &range, Tz::UTC);
    let availability = &found.availability;
    assert_eq!(availability.budget.status, Standing::Breached);
    // Twice the budget is spent: in events, and in time.
    assert!((availability.budget.remaining_ratio.unwrap() + 1.0).abs() < 1e-9);
    let left = availability.budget.budget_left_seconds / availability.budget.budget_total_seconds;
    assert!((left + 1.0).abs() < 1e-6, "{left}");
    assert!(!markdown(&found).contains("Within 100 ms"), "it promises nothing about times");
    assert!(!page(&found, &counted, &range, Tz::UTC).contains("Within 100 ms"));
}

/// It was missed in probes of which only one instance's failed, for twenty minutes of thirty days: nothing is left in seconds either.
#[test]
fn a_young_service_s_budget_is_one_in_probes_and_in_seconds() {
    let mut days = Vec::new();
    let young = Bucket { total: 240, good: 238, fast: 237, excluded: 0 };
    fill(&mut days, NOW, young);
    let latency = Latency::default();
    let minutes = [(NOW / MINUTE_MS - 20, young)];
    let counted = Counted { minutes: &minutes, ..counted(&days, &latency) };
    let range = Range::of(Wish::default(), Tz::UTC, NOW, 100).unwrap();
    let found = Detail::of(counted, &range, Tz::UTC);
    assert_eq!((found.status, found.downtime.seconds), (Standing::Breached, 0.0));
    assert_eq!(found.coverage.probed_seconds, 1_200.0);
    let budget = found.availability.budget;
    assert!((budget.budget_total_seconds - 0.12).abs() < 1e-9, "{budget:?}");
    let in_probes = budget.remaining_probes / budget.allowed_probes;
    let in_seconds = budget.budget_left_seconds / budget.budget_total_seconds;
    assert!(in_seconds < 0.0 && (in_probes - in_seconds).abs() < 1e-9, "{budget:?}");
    for form in [markdown(&found), page(&found, &counted, &range, Tz::UTC)] {
        assert!(form.contains('−') && !form.contains("allowed 4 min"), "{form}");
    }
}

#[test]
fn downtimes_that_are_not_listed_count() {
    let mut days = history();
    days[39].unlisted.insert(3, Unlisted { count: 70, ms: 350_000 });
    let found = of(&days, "30d", Tz::UTC);
    assert_eq!((found.downtime.count, found.downtime.seconds), (71, 3_950.0));
    let day = found.days.iter().find(|day| day.name == "1970-02-09").unwrap();
    assert_eq!((day.downtimes, day.downtime_seconds), (70, 350.0));
    assert_eq!(found.months[1].downtime_seconds, 350.0);
}

#[test]
fn in_every_form() {
    let days = history();
    let zone = Tz::UTC;
    let range = Range::of(Wish::default(), zone, NOW, 100).unwrap();
    let mut latency = Latency::default();
    days.iter().for_each(|day| latency.add(&day.latency));
    let counted = counted(&days, &latency);
    let found = Detail::of(counted, &range, zone);
    assert!(csv(&found).contains("\r\nrange,30d,"), "{}", csv(&found));
    assert!(markdown(&found).starts_with("# SLO of web: BREACHED"), "{}", markdown(&found));
    assert!(badge(&found).contains("SLO 30d"), "{}", badge(&found));
    let html = page(&found, &counted, &range, zone);
    for part in [
        "&lt;b&gt;refused",
        "\"/failovers/fo-1\"",
        "<polyline",
        "upgrade: new disks",
        // What is linked is on the same calendar, and over the same span.
        "report?window=30d&amp;time_zone=UTC&amp;format=csv",
        "report?window=90d&amp;time_zone=UTC&amp;format=html",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<b>refused"));
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["status"], "breached");
    assert_eq!(json["availability"]["bad_probes"], 360);
}
