//! The last 24 hours as one strip: green up, red down, grey unknown. A downtime is never too short to see.

use std::fmt::Write;

use super::{
    page::duration,
    report::{Interval, Report},
    time::DAY_MS,
};

/// Width of the strip, one unit a minute.
const WIDTH: f64 = 1440.0;
/// Narrowest mark of a downtime.
const MARK_MIN: f64 = 2.5;

/// The strip as inline SVG.
pub(super) fn strip(report: &Report) -> String {
    let now = report.as_of.timestamp_millis();
    let from = now - DAY_MS;
    let x = |ms: i64| (ms.clamp(from, now) - from) as f64 / DAY_MS as f64 * WIDTH;
    let mut marks = String::new();
    if let Some(known) = report.known_from {
        mark(&mut marks, "up", x(known.timestamp_millis()), WIDTH, 0.0, "up");
    }
    let mut draw = |class: &str, what: &str, list: &[Interval], narrowest: f64| {
        for interval in list {
            let end = interval.end.map_or(now, |end| end.timestamp_millis());
            if end > from {
                let start = interval.start.timestamp_millis();
                let title = format!("{what} {}", duration(interval.duration_seconds));
                mark(&mut marks, class, x(start), x(end), narrowest, &title);
            }
        }
    };
    draw("gap", "no data", &report.no_data, 0.0);
    draw("down", "down", &report.downtimes, MARK_MIN);
    let hours: String = (0..=24)
        .step_by(6)
        .map(|hours| {
            let text = if hours == 24 { "now".to_owned() } else { format!("−{} h", 24 - hours) };
            let anchor = match hours {
                0 => "start",
                24 => "end",
                _ => "middle",
            };
            format!("<text x=\"{}\" y=\"62\" text-anchor=\"{anchor}\">{text}</text>", hours * 60)
        })
        .collect();
    format!(
        "<svg class=\"strip\" viewBox=\"0 0 1440 70\" role=\"img\" aria-label=\"up and down in the last 24 hours\">\
         <rect class=\"gap\" width=\"1440\" height=\"40\"/>{marks}{hours}</svg>\
         <p class=\"legend\"><i class=\"up\"></i>up <i class=\"down\"></i>down <i class=\"gap\"></i>no data</p>"
    )
}

fn mark(marks: &mut String, class: &str, from: f64, to: f64, narrowest: f64, title: &str) {
    let width = (to - from).max(narrowest);
    let left = from.min(WIDTH - width);
    // Writing to a string does not fail.
    let _ = write!(
        marks,
        "<rect class=\"{class}\" x=\"{left:.2}\" width=\"{width:.2}\" height=\"40\"><title>{title}</title></rect>"
    );
}
