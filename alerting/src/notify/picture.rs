//! The small picture in a mail: the last hour of what the incident is about. What cannot be drawn in time is left out; no mail
//! waits for it.

use std::{fmt::Write as _, time::Duration};

use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke, Transform,
};
use watchkeep_catalog::{Incident, Time};

use super::png;
use crate::{
    context::Context,
    source::{QueryData, RowValue},
};

/// Longest wait for the samples.
const PATIENCE: Duration = Duration::from_secs(2);
const SPAN_MS: i64 = 3_600_000;
const STEP_MS: i64 = 30_000;
/// A gap longer than this is not bridged.
const GAP_MS: i64 = 5 * STEP_MS / 2;
/// Series that are drawn.
const SERIES_MAX: usize = 5;
/// In pixels: twice of what is shown, for screens with small ones.
const WIDTH: u32 = 1200;
const HEIGHT: u32 = 320;
const MARGIN: f32 = 16.0;
/// One after the other; they differ in brightness, too.
const COLORS: [[u8; 3]; SERIES_MAX] =
    [[11, 87, 208], [217, 95, 2], [27, 122, 47], [117, 112, 179], [102, 102, 102]];

/// A picture, and what it shows in words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    pub(crate) png: Vec<u8>,
    pub(crate) text: String,
}

/// Times in milliseconds and values, in the order of time.
type Line = Vec<(i64, f64)>;

/// The picture of an incident; none where nothing is known to be drawn.
pub(crate) async fn of(context: &Context, incident: &Incident, now: Time) -> Option<Picture> {
    let expr = expression(incident)?;
    let end = now.timestamp_millis();
    let asked = context.source.query_range(&expr, end - SPAN_MS, end, STEP_MS);
    let answer = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    let QueryData::Matrix(rows) = answer.data else { return None };
    let is_about = |labels: &std::collections::BTreeMap<String, String>| {
        labels.iter().all(|(name, value)| {
            name == "__name__" || incident.labels.get(name).is_none_or(|own| own == value)
        })
    };
    let span = (end - SPAN_MS, end);
    let float = |(at, value): &(i64, RowValue)| {
        Some((*at, value.float()?)).filter(|(at, _)| (span.0..=span.1).contains(at))
    };
    let lines = rows.iter().filter(|row| is_about(&row.labels));
    let lines = lines.map(|row| row.points.iter().filter_map(float).collect::<Line>());
    let lines: Vec<Line> = lines.filter(|line| line.len() > 1).take(SERIES_MAX).collect();
    // It takes some milliseconds, and whatever it stumbles over, the mail goes without it.
    let began = incident.started_at;
    let drawn = tokio::task::spawn_blocking(move || draw(&expr, &lines, span, began));
    drawn.await.ok().flatten()
}

/// What is drawn: what the incident names as its `query`, else what its instance's probes took.
fn expression(incident: &Incident) -> Option<String> {
    if let Some(query) = incident.details.get("query") {
        return Some(without_threshold(query).to_owned());
    }
    let label = |name: &str| incident.labels.get(name);
    let (service, instance) = (label("service")?, label("instance")?);
    Some(format!("probe_duration_seconds{{service={service:?},instance={instance:?}}}"))
}

/// An expression without its last comparison with a number, which would draw nothing while all is well: `a / b > 0.5` is
/// drawn as `a / b`.
pub(crate) fn without_threshold(expr: &str) -> &str {
    let (mut depth, mut quote, mut at) = (0_i32, None, None);
    for (place, c) in expr.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '(' | '{' | '[') => depth += 1,
            (None, ')' | '}' | ']') => depth -= 1,
            (None, '<' | '>' | '=' | '!') if depth == 0 && at.is_none() => at = Some(place),
            _ => {}
        }
    }
    let Some(at) = at else { return expr };
    let (left, right) = expr.split_at(at);
    let number = right.trim_start_matches(['<', '>', '=', '!']).trim();
    match number.parse::<f64>() {
        Ok(_) if !left.trim().is_empty() => left.trim(),
        _ => expr,
    }
}

/// Draws them over the time from `span.0` to `span.1`, with a mark where the fault began. Pure.
fn draw(name: &str, lines: &[Line], span: (i64, i64), began: Time) -> Option<Picture> {
    let values = || lines.iter().flatten().map(|(_, value)| *value).filter(|v| v.is_finite());
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    // From zero where that does not flatten what there is to see.
    let bottom = if low >= 0.0 && low < high * 0.8 || low == high && low > 0.0 { 0.0 } else { low };
    let top = if high > bottom { high } else { bottom + 1.0 };
    let mut pixmap = Pixmap::new(WIDTH, HEIGHT)?;
    pixmap.fill(Color::WHITE);
    let (width, height) = (WIDTH as f32 - 2.0 * MARGIN, HEIGHT as f32 - 2.0 * MARGIN);
    let x = |at: i64| MARGIN + (at - span.0) as f32 / (span.1 - span.0) as f32 * width;
    let y = |value: f64| MARGIN + ((top - value) / (top - bottom)) as f32 * height;
    let grid = Ink { color: [226, 226, 230], alpha: 255, width: 2.0 };
    for quarter in 0..=4 {
        let (across, down) = (quarter as f32 / 4.0 * height, quarter as f32 / 4.0 * width);
        grid.stroke(&mut pixmap, &[(MARGIN, MARGIN + across), (MARGIN + width, MARGIN + across)]);
        grid.stroke(&mut pixmap, &[(MARGIN + down, MARGIN), (MARGIN + down, MARGIN + height)]);
    }
    let began = began.timestamp_millis();
    if (span.0..=span.1).contains(&began) {
        let mark = Ink { color: [176, 0, 32], alpha: 200, width: 4.0 };
        mark.stroke(&mut pixmap, &[(x(began), MARGIN), (x(began), MARGIN + height)]);
    }
    for (line, color) in lines.iter().zip(COLORS) {
        for part in line.chunk_by(|a, b| b.0 - a.0 <= GAP_MS && b.1.is_finite() && a.1.is_finite())
        {
            let points: Vec<(f32, f32)> = part.iter().map(|(at, v)| (x(*at), y(*v))).collect();
            // A difference of finite values may be none, and what draws panics at it.
            if points.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
                continue;
            }
            if lines.len() == 1 {
                let pale = Ink { color, alpha: 36, width: 0.0 };
                pale.fill_down_to(&mut pixmap, &points, MARGIN + height);
            }
            Ink { color, alpha: 255, width: 5.0 }.stroke(&mut pixmap, &points);
        }
    }
    let mut text = format!("{name}, the last hour: from {} to {}", short(low), short(high));
    if let [line] = lines
        && let Some((_, last)) = line.last()
    {
        let _ = write!(text, ", last {}", short(*last));
    }
    Some(Picture { png: png::encode(WIDTH, HEIGHT, pixmap.data())?, text })
}

/// From so much on a number is shown in so large a unit.
const UNITS: [(f64, f64, &str); 4] =
    [(1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")];

/// A number with four digits that count: `178.6M`.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let unit = UNITS.iter().find(|(from, ..)| value.abs() >= *from);
    let (value, unit) = unit.map_or((value, ""), |(_, size, unit)| (value / size, *unit));
    // Between 1e-300 and 1e300, so the digits are few.
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 12);
    let text = format!("{value:.*}", digits as usize);
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

/// How something is drawn.
struct Ink {
    color: [u8; 3],
    alpha: u8,
    width: f32,
}

impl Ink {
    fn paint(&self) -> Paint<'static> {
        let [red, green, blue] = self.color;
        let mut paint = Paint::default();
        paint.set_color_rgba8(red, green, blue, self.alpha);
        paint
    }

    fn stroke(&self, pixmap: &mut Pixmap, points: &[(f32, f32)]) {
        let Some(path) = path(points, None) else { return };
        let (line_cap, line_join) = (LineCap::Round, LineJoin::Round);
        let stroke = Stroke { width: self.width, line_cap, line_join, ..Stroke::default() };
        pixmap.stroke_path(&path, &self.paint(), &stroke, Transform::identity(), None);
    }

    fn fill_down_to(&self, pixmap: &mut Pixmap, points: &[(f32, f32)], bottom: f32) {
        let Some(path) = path(points, Some(bottom)) else { return };
        let rule = FillRule::Winding;
        pixmap.fill_path(&path, &self.paint(), rule, Transform::identity(), None);
    }
}

/// A line through the points; closed along `bottom`, if there is one.
fn path(points: &[(f32, f32)], bottom: Option<f32>) -> Option<Path> {
    let (first, last) = (points.first()?, points.last()?);
    let mut path = PathBuilder::new();
    path.move_to(first.0, first.1);
    for (x, y) in &points[1..] {
        path.line_to(*x, *y);
    }
    if let Some(bottom) = bottom {
        path.line_to(last.0, bottom);
        path.line_to(first.0, bottom);
        path.close();
    }
    path.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{opened_incident, time};

    #[test]
    fn thresholds_are_left_out() {
        for (expr, drawn) in [
            ("a / b > 0.5", "a / b"),
            ("rate(x{a=\"b > 1\"}[5m]) >= 1e3", "rate(x{a=\"b > 1\"}[5m])"),
            ("up == 0", "up"),
            ("x != 0 and y > 2", "x != 0 and y > 2"),
            ("a > b", "a > b"),
            ("sum(a > 1)", "sum(a > 1)"),
            ("vector(1)", "vector(1)"),
            ("> 1", "> 1"),
        ] {
            assert_eq!(without_threshold(expr), drawn);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.001_234_56, "0.001235"),
            (12.0, "12"),
            (1_234.0, "1234"),
            (1_234_567.0, "1.235M"),
            (-178_606_080.0, "-178.6M"),
            (10_000.0, "10k"),
            (-0.5, "-0.5"),
            (99.999_9, "100"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn an_hour_is_drawn_and_a_gap_is_left() {
        let began = time(0);
        let end = began.timestamp_millis() + 60_000;
        let at = |minute: i64| end - SPAN_MS + minute * 60_000;
        let mut line: Line = (0..=60).map(|m| (at(m), if m < 58 { 0.02 } else { 1.5 })).collect();
        line.drain(20..30);
        let picture = draw("x", &[line.clone()], (end - SPAN_MS, end), began).unwrap();
        assert_eq!(picture.text, "x, the last hour: from 0.02 to 1.5, last 1.5");
        assert!(picture.png.len() < 20_000, "{} bytes", picture.png.len());
        let whole =
            draw("x", &[line, vec![(at(1), f64::NAN), (at(2), 3.0)]], (end - SPAN_MS, end), began);
        assert_ne!(whole.unwrap().png, picture.png);
        assert_eq!(draw("x", &[], (0, 1), began), None);
        assert_eq!(draw("x", &[vec![(0, f64::NAN)]], (0, 1), began), None);
        // Values whose difference is no number are not drawn, and break nothing.
        for (low, high) in [(f64::MIN, f64::MAX), (f64::MAX, f64::MAX), (-5e-324, 5e-324)] {
            let odd = vec![vec![(at(1), low), (at(2), high), (at(3), f64::INFINITY)]];
            assert!(draw("x", &odd, (end - SPAN_MS, end), began).is_some(), "{low} {high}");
        }
        // One value for the whole hour is a line, too.
        let flat = vec![vec![(at(1), 1.0), (at(2), 1.0)]];
        assert!(draw("x", &flat, (end - SPAN_MS, end), began).is_some());
    }

    #[test]
    fn what_is_drawn() {
        let mut incident = opened_incident();
        let probes = expression(&incident).unwrap();
        assert_eq!(probes, r#"probe_duration_seconds{service="db",instance="one"}"#);
        incident.details.insert("query".to_owned(), "rate(errors[5m]) > 1".to_owned());
        assert_eq!(expression(&incident).unwrap(), "rate(errors[5m])");
        incident.details.clear();
        incident.labels.clear();
        assert_eq!(expression(&incident), None);
    }
}
