//! The report on one service: what `/v1/slo` says as JSON and as a page.

use serde::Serialize;
use watchkeep_catalog::Time;

use super::{
    bucket::Bucket,
    budget::{Budget, Standing},
    config::Objective,
    day::{Day, Downtimes},
    detail::{BurnRate, Hours, burn_rates, probed},
    interval::{Cause, Span, clip, coalesce},
    sweep::State,
    time::{DAY_MS, HOUR_MS, MINUTE_MS, floor, instant},
    track::{MINUTES_MS, Track},
};

/// Downtimes and gaps that a report lists, the latest first.
const LISTED_MAX: usize = 200;
/// Those that a list of services shows of each.
const IN_SHORT_MAX: usize = 3;

/// How far a report looks back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Window {
    /// An hour, begun on a whole minute.
    #[serde(rename = "1h")]
    Hour,
    /// A day, begun on a whole hour.
    #[serde(rename = "24h")]
    Day,
    /// Thirty days, begun on a whole hour.
    #[serde(rename = "30d")]
    Month,
}

impl Window {
    /// All of them, the shortest first.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// `1h`, `24h` or `30d`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Month => "30d",
        }
    }

    /// The window of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.name() == name)
    }

    /// Its first moment; it begins on a whole minute or hour, so it is up to one longer than its name.
    pub(super) fn start(self, now: i64) -> i64 {
        match self {
            Self::Hour => floor(now - HOUR_MS, MINUTE_MS),
            Self::Day => floor(now - DAY_MS, HOUR_MS),
            Self::Month => floor(now - 30 * DAY_MS, HOUR_MS),
        }
    }
}

/// Time the service was down within a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DowntimeSum {
    /// How often.
    pub count: usize,
    /// How long altogether.
    pub seconds: f64,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowReport {
    /// Which.
    pub window: Window,
    /// Its first moment.
    pub from: Time,
    /// Its last.
    pub to: Time,
    /// The probes in it.
    pub probes: Bucket,
    /// Share of probes that succeed.
    pub availability: Budget,
    /// Share of probes that succeed in time.
    pub latency: Budget,
    /// Time it was down.
    pub downtime: DowntimeSum,
}

impl WindowReport {
    /// The worse of its two objectives.
    #[must_use]
    pub fn status(&self) -> Standing {
        self.availability.status.max(self.latency.status)
    }
}

/// One downtime, or a gap in what is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interval {
    /// Its start: for a downtime, the timestamp of the first failed probe.
    pub start: Time,
    /// Its end: for a downtime, the timestamp of the first good probe; none while it goes on.
    pub end: Option<Time>,
    /// Whether it goes on.
    pub ongoing: bool,
    /// How long it is (so far).
    pub duration_seconds: f64,
    /// What is known of its cause.
    #[serde(flatten)]
    pub cause: Cause,
}

impl From<Span> for Interval {
    fn from(span: Span) -> Self {
        Self {
            start: instant(span.start),
            end: (!span.ongoing).then(|| instant(span.end)),
            ongoing: span.ongoing,
            duration_seconds: span.seconds(),
            cause: span.cause,
        }
    }
}

/// What is reported on one service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The service.
    pub service: String,
    /// The moment of the report.
    pub as_of: Time,
    /// How it is.
    pub state: State,
    /// What it promised.
    pub objective: Objective,
    /// The first probe that this node has samples of, at most 25 hours back; none without any.
    pub known_from: Option<Time>,
    /// The windows asked for.
    pub windows: Vec<WindowReport>,
    /// Burn rates over the windows that alerts look at.
    pub burn: Vec<BurnRate>,
    /// Downtimes within the longest window, the latest first.
    pub downtimes: Vec<Interval>,
    /// When the whole service was in maintenance within the longest window, the latest first: neither up nor down.
    pub maintenance: Vec<Interval>,
    /// When nobody knew how it was, within the last 24 hours and since the first probe; the latest first.
    pub no_data: Vec<Interval>,
}

impl Report {
    /// The report from the merged `days` (ascending) of the longest window, and the node's own counts.
    pub(super) fn of(
        service: &str,
        objective: Objective,
        windows: &[Window],
        days: &[Day],
        track: &Track,
    ) -> Self {
        let now = track.now();
        let all = Downtimes::of(days);
        let excused = coalesce(days.iter().flat_map(|d| d.maintenance.iter().cloned()).collect());
        let minutes: Vec<_> = track.minutes(now - MINUTES_MS - MINUTE_MS).collect();
        let begun = Hours(days).begun(&minutes);
        let windows: Vec<_> = windows
            .iter()
            .map(|w| window_report(*w, objective, days, (&all, &excused[..]), (track, begun)))
            .collect();
        let start = windows.iter().map(|w| w.from.timestamp_millis()).min().unwrap_or(now);
        let no_data = track.spans(State::Unknown);
        Self {
            service: service.to_owned(),
            as_of: instant(now),
            state: track.state(),
            objective,
            known_from: track.changes().first().map(|(at, _)| instant(*at)),
            burn: burn_rates(now, objective, &minutes, Hours(days)),
            downtimes: latest(clip(&all.listed, start, now)),
            maintenance: latest(clip(&excused, start, now)),
            no_data: latest(clip(&no_data, Window::Day.start(now), now)),
            windows,
        }
    }
}

impl Report {
    /// Of a report over all windows, what a list of services says of one of them: each kind of interval only so far as the
    /// latest go.
    pub(super) fn in_short(&self, window: Window) -> Self {
        let windows: Vec<_> = self.windows.iter().filter(|w| w.window == window).cloned().collect();
        let from = windows.first().map_or(self.as_of, |window| window.from);
        let cut = |list: &[Interval]| {
            let seen = list.iter().filter(|i| i.end.is_none_or(|end| end > from));
            seen.take(IN_SHORT_MAX).map(|interval| interval.since(from)).collect()
        };
        // Field by field: a list of a thousand services copies no more than it shows.
        Self {
            service: self.service.clone(),
            as_of: self.as_of,
            state: self.state,
            objective: self.objective,
            known_from: self.known_from,
            windows,
            burn: self.burn.clone(),
            downtimes: cut(&self.downtimes),
            maintenance: cut(&self.maintenance),
            no_data: self.no_data.iter().take(IN_SHORT_MAX).cloned().collect(),
        }
    }
}

impl Interval {
    /// The part of it since `from`.
    fn since(&self, from: Time) -> Self {
        let early = (from - self.start).max(chrono::TimeDelta::zero());
        let duration_seconds = self.duration_seconds - early.num_milliseconds() as f64 / 1000.0;
        Self {
            start: self.start.max(from),
            end: self.end,
            ongoing: self.ongoing,
            duration_seconds,
            cause: self.cause.clone(),
        }
    }
}

fn latest(spans: impl Iterator<Item = Span>) -> Vec<Interval> {
    let mut spans: Vec<_> = spans.map(Interval::from).collect();
    spans.reverse();
    spans.truncate(LISTED_MAX);
    spans
}

fn window_report(
    window: Window,
    objective: Objective,
    days: &[Day],
    (downtimes, excused): (&Downtimes<'_>, &[Span]),
    (track, begun): (&Track, Option<i64>),
) -> WindowReport {
    let now = track.now();
    let from = window.start(now);
    let probes = match window {
        Window::Hour => track.since(from),
        Window::Day | Window::Month => Hours(days).sum(from, now),
    };
    let (count, seconds) = downtimes.sum(from, now);
    let probed_seconds = probed(begun, (from, now), excused);
    let budget = |good| Budget::of(probes.total, good, objective.availability, probed_seconds);
    WindowReport {
        window,
        from: instant(from),
        to: instant(now),
        probes,
        availability: budget(probes.good),
        latency: budget(probes.fast),
        downtime: DowntimeSum { count, seconds },
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
