//! How the error budget was spent over the range: two lines from full to what is left, above the downtimes. Inline SVG, its
//! colours from the page's style. Pure.

use std::fmt::Write;

use super::{
    super::page::{duration, percent},
    Counted, Hours,
};
use crate::slo::{
    bucket::Bucket,
    interval::{Span, clip},
    range::{self, Range},
    time::{HOUR_MS, instant},
};

/// Size of the drawing, in its own units.
const WIDTH: f64 = 720.0;
const TOP: f64 = 12.0;
const FLOOR: f64 = 200.0;
const LEFT: f64 = 52.0;
/// Points of a line.
const POINTS_MAX: i64 = 240;
/// The lowest share that is drawn: a budget that is overspent by more goes along the bottom.
const LOWEST: f64 = -0.5;
/// Narrowest mark of a downtime.
const MARK_MIN: f64 = 1.5;

/// A point: when, and what is left of the budgets of availability and latency.
type Point = (i64, f64, f64);

/// What was left of the budgets over the range: at its end as the report says.
pub(super) fn points(counted: &Counted<'_>, range: &Range) -> Vec<Point> {
    let hours = Hours(counted.days);
    let length = range.to - range.from;
    let step = (length / POINTS_MAX / HOUR_MS + 1) * HOUR_MS;
    let total = hours.sum(range.from, range.to).total as f64;
    let allowed = (1.0 - counted.objective.availability) * total;
    let mut so_far = Bucket::default();
    let mut points = vec![(range.from, 1.0, 1.0)];
    let mut at = range.from;
    while at < range.to && allowed > 0.0 {
        let next = (at + step).min(range.to);
        so_far.add(hours.sum(at, next));
        let left = |good: u64| 1.0 - (so_far.total - good) as f64 / allowed;
        points.push((next, left(so_far.good), left(so_far.fast)));
        at = next;
    }
    points
}

/// The drawing.
pub(super) fn chart(points: &[Point], range: &Range, zone: chrono_tz::Tz, down: &[Span]) -> String {
    let length = (range.to - range.from) as f64;
    let x = |ms: i64| LEFT + (ms - range.from) as f64 / length * (WIDTH - LEFT);
    let lowest = points.iter().fold(0.0_f64, |low, (_, a, b)| low.min(*a).min(*b)).max(LOWEST);
    let y = |share: f64| TOP + (1.0 - share.max(lowest)) / (1.0 - lowest) * (FLOOR - TOP);
    let mut grid = String::new();
    let below = (lowest < 0.0).then_some(lowest);
    for share in [1.0, 0.5, 0.0].into_iter().chain(below) {
        // Writing to a string does not fail, here and below.
        let _ = write!(
            grid,
            "<line class=\"{}\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>\
             <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4:.0} %</text>",
            if share == 0.0 { "zero" } else { "grid" },
            y(share),
            LEFT - 6.0,
            y(share) + 4.0,
            share * 100.0,
        );
    }
    let mut marks = String::new();
    for span in clip(down, range.from, range.to) {
        let width = (x(span.end) - x(span.start)).max(MARK_MIN);
        let _ = write!(
            marks,
            "<rect class=\"down\" x=\"{:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"8\"><title>down {}</title></rect>",
            x(span.start).min(WIDTH - width),
            FLOOR + 4.0,
            duration(span.seconds()),
        );
    }
    let line = |class: &str, of: fn(&Point) -> f64| {
        let path: Vec<_> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(of(point)))).collect();
        format!("<polyline class=\"{class}\" points=\"{}\"/>", path.join(" "))
    };
    let days = range::days(zone, range.from, range.to);
    let every = (days.len() / 6).max(1);
    let mut names = String::new();
    for day in days.iter().skip(1).step_by(every) {
        let at = range::midnight(zone, *day);
        if at < range.to && x(at) < WIDTH - 20.0 {
            let _ = write!(
                names,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                x(at).max(LEFT + 16.0),
                FLOOR + 28.0,
                day.format("%-d %b")
            );
        }
    }
    let left = points.last().map_or((None, None), |(_, a, b)| (Some(*a), Some(*b)));
    let (from, to) = (instant(range.from), instant(range.to));
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} 232\" role=\"img\" aria-label=\"error budget left from {from} to {to}: \
         availability {}, latency {}\">{grid}{marks}{}{}{names}</svg>\
         <p class=\"legend\"><i class=\"a\"></i>budget of availability left <i class=\"l\"></i>of latency \
         <i class=\"down\"></i>down</p>",
        percent(left.0),
        percent(left.1),
        line("l", |point| point.2),
        line("a", |point| point.1),
    )
}
