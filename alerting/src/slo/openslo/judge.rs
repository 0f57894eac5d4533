//! Documents into objectives: every reference resolved, everything that cannot be kept refused by name. Pure: text in.

use std::{collections::BTreeMap, str::FromStr};

use chrono::{Datelike, NaiveDateTime, NaiveTime, Weekday};
use chrono_tz::Tz;
use serde_saphyr::{Location, Spanned};

use super::{
    Method, Slo, TimeWindow,
    documents::{Documents, split},
    shape::{self, Slice},
};
use crate::rule::{Expressions, Problem};

mod alert;
mod indicator;

/// Reads the documents of all files, by file name, and judges them together.
///
/// # Errors
/// Everything that is wrong, in the order of the files.
pub fn read(
    texts: &BTreeMap<String, String>,
    expressions: &dyn Expressions,
) -> Result<Vec<Slo>, Vec<Problem>> {
    let mut all = Documents::default();
    for (file, text) in texts {
        for (before, document) in split(text) {
            all.take(file, before, &document);
        }
    }
    let mut slos = Vec::new();
    let mut problems = std::mem::take(&mut all.problems);
    for (name, (file, before, (display, spec))) in &all.slos {
        let mut judge =
            Judge { all: &all, expressions, file, before: *before, problems: Vec::new() };
        slos.extend(judge.slo(name, display.as_deref(), spec));
        problems.append(&mut judge.problems);
    }
    problems.extend(named_twice(&slos));
    problems.sort();
    if problems.is_empty() { Ok(slos) } else { Err(problems) }
}

/// A document of several objectives makes names of its own: they may be another document's.
fn named_twice(slos: &[Slo]) -> impl Iterator<Item = Problem> + '_ {
    let earlier = move |at: usize| slos[..at].iter().find(move |other| other.name == slos[at].name);
    let found = (0..slos.len()).filter_map(move |at| Some((&slos[at], earlier(at)?)));
    found.map(|(slo, other)| Problem {
        file: slo.file.clone(),
        line: Some(slo.line),
        message: format!(
            "objective {:?} is there twice, also from the SLO at {}:{}: several objectives of an SLO are named after it, \
             with -1, -2 and so on; rename one SLO",
            slo.name, other.file, other.line
        ),
    })
}

struct Judge<'a> {
    all: &'a Documents,
    expressions: &'a dyn Expressions,
    file: &'a str,
    before: u64,
    problems: Vec<Problem>,
}

impl<'a> Judge<'a> {
    /// Of an object that stands in another document.
    fn in_file(&self, file: &'a str, before: u64) -> Self {
        let (all, expressions) = (self.all, self.expressions);
        Self { all, expressions, file, before, problems: Vec::new() }
    }

    fn refuse<T>(&mut self, at: &Location, message: String) -> Option<T> {
        let line = Some(self.before + at.line()).filter(|_| at.line() > 0);
        self.problems.push(Problem { file: self.file.to_owned(), line, message });
        None
    }

    fn undefined<T>(&mut self, at: &Spanned<String>, kind: &str, known: Vec<&String>) -> Option<T> {
        let known: Vec<_> = known.into_iter().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("{kind} {:?} is not defined; defined: {known}", at.value);
        self.refuse(&at.referenced, message)
    }

    fn slo(&mut self, name: &str, display: Option<&str>, spec: &shape::SloSpec) -> Vec<Slo> {
        let window = self.window(spec.time_window.as_ref());
        let alerts = self.alerts(spec);
        let objectives = &spec.objectives.value;
        if objectives.is_empty() {
            let message = "objectives is empty: give at least one with a target".to_owned();
            self.refuse::<()>(&spec.objectives.referenced, message);
        }
        let composite = objectives
            .iter()
            .any(|o| o.value.indicator.is_some() || o.value.indicator_ref.is_some());
        let mut slos = Vec::new();
        for (number, objective) in (1..).zip(objectives) {
            let at = &objective.referenced;
            let target = self.target(objective);
            let method = self.method(&spec.budgeting_method, objective);
            let indicator = match composite {
                true if spec.indicator.is_some() || spec.indicator_ref.is_some() => self.refuse(
                    at,
                    "an indicator stands in the SLO and in an objective: a composite has them in its objectives only"
                        .to_owned(),
                ),
                true => self.indicator(
                    at,
                    (objective.value.indicator.as_ref(), objective.value.indicator_ref.as_ref()),
                    &objective.value,
                ),
                false => self.indicator(
                    at,
                    (spec.indicator.as_ref(), spec.indicator_ref.as_ref()),
                    &objective.value,
                ),
            };
            let weight = objective.value.composite_weight.as_ref();
            if let Some(given) =
                weight.filter(|w| !(w.value > 0.0 && w.value.is_finite() && composite))
            {
                let message = format!(
                    "compositeWeight is {}: give a number above 0, to objectives that have indicators of their own",
                    given.value
                );
                self.refuse::<()>(&given.referenced, message);
            }
            let (Some(target), Some(method), Some(indicator), Some(window)) =
                (target, method, indicator, window.clone())
            else {
                continue;
            };
            slos.push(Slo {
                name: match objectives.len() {
                    1 => name.to_owned(),
                    _ => format!("{name}-{number}"),
                },
                service: spec.service.value.clone(),
                display_name: objective
                    .value
                    .display_name
                    .clone()
                    .or_else(|| display.map(str::to_owned))
                    .unwrap_or_else(|| name.to_owned()),
                target,
                method,
                window,
                indicators: vec![(indicator, weight.map_or(1.0, |weight| weight.value))],
                alerts: alerts.clone(),
                file: self.file.to_owned(),
                line: self.before + 1,
            });
        }
        if !composite || slos.len() < 2 {
            return slos;
        }
        if slos.iter().any(|slo| slo.method != slos[0].method) {
            let message = "objectives of a composite have different timeSliceTarget or timeSliceWindow: give all the same, \
                           since they are one SLO"
                .to_owned();
            self.refuse::<()>(&spec.objectives.referenced, message);
        }
        vec![self.composite(name, display, slos)]
    }

    /// One objective of several: the weighted mean of their shares against the weighted mean of their targets.
    fn composite(&self, name: &str, display: Option<&str>, slos: Vec<Slo>) -> Slo {
        let weights: f64 = slos.iter().map(|slo| slo.indicators[0].1).sum();
        let target = slos.iter().map(|slo| slo.target * slo.indicators[0].1).sum::<f64>() / weights;
        let indicators = slos.iter().flat_map(|slo| slo.indicators.clone()).collect();
        Slo {
            name: name.to_owned(),
            display_name: display.unwrap_or(name).to_owned(),
            target,
            indicators,
            ..slos[0].clone()
        }
    }

    fn target(&mut self, objective: &Spanned<shape::Objective>) -> Option<f64> {
        let both = (&objective.value.target, &objective.value.target_percent);
        let (at, given, share, most) = match both {
            (Some(target), None) => {
                (&target.referenced, target.value, target.value, "0 to below 1")
            }
            (None, Some(percent)) => {
                // 99.99 / 100 is not quite 0.9999.
                let share = (percent.value * 1e10).round() / 1e12;
                (&percent.referenced, percent.value, share, "0 to below 100")
            }
            (Some(_), Some(_)) => {
                let message = "target and targetPercent exclude each other: give one".to_owned();
                return self.refuse(&objective.referenced, message);
            }
            (None, None) => {
                let message =
                    "has no target: give target, such as 0.999, or targetPercent".to_owned();
                return self.refuse(&objective.referenced, message);
            }
        };
        match share > 0.0 && share < 1.0 {
            true => Some(share),
            false => self.refuse(
                at,
                format!("{given} leaves no budget or nothing to keep: give {most}, above 0"),
            ),
        }
    }

    fn method(
        &mut self,
        given: &Spanned<String>,
        objective: &Spanned<shape::Objective>,
    ) -> Option<Method> {
        let (target, window) =
            (&objective.value.time_slice_target, &objective.value.time_slice_window);
        let known = given.value.as_str();
        if known == "Occurrences" {
            if let Some(target) = target {
                let message =
                    "timeSliceTarget is of no use with Occurrences: leave it out".to_owned();
                return self.refuse(&target.referenced, message);
            }
            return Some(Method::Occurrences);
        }
        if !matches!(known, "Timeslices" | "RatioTimeslices") {
            let message = format!(
                "budgetingMethod {known:?} is not known: use Occurrences, Timeslices or RatioTimeslices"
            );
            return self.refuse(&given.referenced, message);
        }
        let Some(window) = window else {
            let message =
                format!("timeSliceWindow is missing, and {known} needs it: give one such as 5m");
            return self.refuse(&objective.referenced, message);
        };
        let seconds = match &window.value {
            Slice::Minutes(minutes) => Some(minutes * 60),
            Slice::Text(text) => {
                text.parse::<u64>().ok().map(|m| m * 60).or_else(|| shorthand(text))
            }
        };
        // So that hours, by which is counted, have whole slices.
        let Some(seconds) = seconds.filter(|s| *s >= 60 && 3_600 % s == 0) else {
            let message = "timeSliceWindow must be a whole part of an hour, from 1m to 60m, such as 1m, 5m or 15m".to_owned();
            return self.refuse(&window.referenced, message);
        };
        if known == "RatioTimeslices" {
            return Some(Method::RatioTimeslices { seconds });
        }
        match target.as_ref().map(|t| (t, t.value)) {
            Some((_, target)) if target > 0.0 && target <= 1.0 => {
                Some(Method::Timeslices { seconds, target })
            }
            Some((at, target)) => self.refuse(
                &at.referenced,
                format!("timeSliceTarget is {target}: give a share above 0, at most 1"),
            ),
            None => self.refuse(
                &objective.referenced,
                "timeSliceTarget is missing, and Timeslices needs it: give a share such as 0.95"
                    .to_owned(),
            ),
        }
    }

    fn window(&mut self, given: Option<&Spanned<Vec<shape::TimeWindow>>>) -> Option<TimeWindow> {
        let Some(list) = given else { return Some(TimeWindow::Rolling(30 * 24)) };
        let [window] = list.value.as_slice() else {
            let message = format!("timeWindow has {} entries: give exactly one", list.value.len());
            return self.refuse(&list.referenced, message);
        };
        let (at, text) = (&window.duration.referenced, window.duration.value.as_str());
        let Some(calendar) = &window.calendar else {
            if window.is_rolling == Some(false) {
                let message =
                    "a window that is not rolling needs calendar: give startTime and timeZone"
                        .to_owned();
                return self.refuse(at, message);
            }
            let whole = shorthand(text).filter(|seconds| seconds % 3_600 == 0);
            let hours = whole.map(|seconds| seconds / 3_600);
            return match hours.filter(|hours| (1..=400 * 24).contains(hours)) {
                Some(hours) => Some(TimeWindow::Rolling(hours)),
                None => self.refuse(
                    at,
                    format!("duration {text:?} is not a rolling window: give whole hours, 1h to 400d, such as 28d or 4w"),
                ),
            };
        };
        if window.is_rolling == Some(true) {
            let message =
                "calendar is of no use in a rolling window: leave it out, or isRolling".to_owned();
            return self.refuse(&calendar.start_time.referenced, message);
        }
        let zone = &calendar.time_zone;
        let Ok(tz) = Tz::from_str(&zone.value) else {
            let message = format!(
                "timeZone {:?} is not known: give an IANA name such as America/New_York",
                zone.value
            );
            return self.refuse(&zone.referenced, message);
        };
        let start = calendar.start_time.value.replace('T', " ");
        let Ok(start) = NaiveDateTime::parse_from_str(&start, "%Y-%m-%d %H:%M:%S") else {
            let message = format!(
                "startTime {:?} is not a time: write it as 2026-01-01 00:00:00",
                calendar.start_time.value
            );
            return self.refuse(&calendar.start_time.referenced, message);
        };
        let unit = match text {
            "1d" => "day",
            "1w" => "week",
            "1M" => "month",
            "1Q" => "quarter",
            _ => {
                let message = format!(
                    "duration {text:?} is not supported for a calendar window: use 1d, 1w, 1M or 1Q, which begin at midnight, \
                     on Monday, and on the first"
                );
                return self.refuse(at, message);
            }
        };
        let begins_well = start.time() == NaiveTime::MIN
            && match unit {
                "day" => true,
                "week" => start.weekday() == Weekday::Mon,
                "month" => start.day() == 1,
                _ => start.day() == 1 && start.month0().is_multiple_of(3),
            };
        if !begins_well {
            let message = format!(
                "startTime {:?} is not supported for {text}: let it begin at 00:00:00, a week on a Monday, a month on the \
                 first, a quarter on the first of January, April, July or October",
                calendar.start_time.value
            );
            return self.refuse(&calendar.start_time.referenced, message);
        }
        Some(TimeWindow::Calendar(unit, tz))
    }
}

/// Seconds of a duration-shorthand of fixed length: `5m`, `12h`, `28d`, `4w`.
fn shorthand(text: &str) -> Option<u64> {
    let (number, unit) =
        text.split_at(text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?);
    let seconds = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    number.parse::<u64>().ok().filter(|n| digits && *n > 0)?.checked_mul(seconds)
}
