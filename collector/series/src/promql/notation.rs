//! The notation of series in test files (Prometheus's and promtool's): `up{job="a"} 1+2x3 _ stale {{count:3}}`.
//!
//! Points are separated by spaces, one per interval: `5` a value, `_` none, `stale` the end of the series, `1+2x3` is
//! 1 3 5 7, `1-2x3` falls, `4x3` is 4 four times, `_x3` three gaps, `{{…}}` a native histogram.

use std::sync::Arc;

use crate::{
    Histogram, HistogramSample, Labels, Points, Sample,
    promql::{Expr, ParseError, SampleValue, plan::What},
    query::stale_nan,
};

/// Most points of one series.
const POINTS_MAX: usize = 1_000_000;

/// A point of the notation: one per interval.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    /// No sample.
    Gap,
    /// A sample.
    Value(SampleValue),
}

/// Reads `metric{labels} points`.
///
/// # Errors
/// Names what cannot be read.
pub fn parse_series(line: &str) -> Result<(Labels, Vec<Point>), ParseError> {
    let (labels, rest) = parse_labels(line.trim())?;
    Ok((labels, parse_points(rest)?))
}

/// Reads the metric that a text begins with; answers with what follows it.
///
/// # Errors
/// When it is no metric.
pub fn parse_labels(text: &str) -> Result<(Labels, &str), ParseError> {
    let end = end_of_metric(text);
    let (metric, rest) = text.split_at(end);
    if metric == "{}" {
        return Ok((Labels::default(), rest));
    }
    let wrong = || ParseError::new(format!("{metric:?} is not a metric"));
    let expr = Expr::parse(metric).map_err(|e| ParseError::new(format!("{metric}: {e}")));
    let expr = match expr {
        Ok(expr) => expr,
        // Labels without a value that is not empty select nothing, but describe a series well.
        Err(error) => return bare_labels(metric).map(|labels| (labels, rest)).ok_or(error),
    };
    let What::Vector(selector) = &expr.plan.what else { return Err(wrong()) };
    let mut pairs = Vec::new();
    for matcher in &selector.matchers {
        let crate::Matcher::Equal(name, value) = matcher else { return Err(wrong()) };
        pairs.push((name.as_str(), value.as_str()));
    }
    Ok((Labels::new(pairs), rest))
}

/// `{a="",b=""}`: no labels at all.
fn bare_labels(metric: &str) -> Option<Labels> {
    let with_name = Expr::parse(&format!("x{metric}"));
    let What::Vector(selector) = &with_name.ok()?.plan.what else { return None };
    let empty = |m: &crate::Matcher| matches!(m, crate::Matcher::Equal(_, v) if v.is_empty());
    selector.matchers[1..].iter().all(empty).then(Labels::default)
}

fn end_of_metric(text: &str) -> usize {
    let name = text.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(text.len());
    let gap = text[name..].len() - text[name..].trim_start().len();
    // A native histogram begins with two braces and ends the metric, too.
    if !text[name + gap..].starts_with('{') || text[name + gap..].starts_with("{{") {
        return name;
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at <= name + gap) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(open) if c == '\\' && open != '`' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None if c == '}' => return at + 1,
            None => {}
        }
    }
    text.len()
}

/// Reads the points of one series.
///
/// # Errors
/// Names the item that cannot be read.
pub fn parse_points(text: &str) -> Result<Vec<Point>, ParseError> {
    let mut points = Vec::new();
    for item in items(text) {
        parse_item(&item, &mut points)?;
        if points.len() > POINTS_MAX {
            return Err(ParseError::new(format!("a series has more than {POINTS_MAX} points")));
        }
    }
    Ok(points)
}

/// Splits at spaces, but not within `{{…}}`.
fn items(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0_i32;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c.is_whitespace() && depth <= 0 {
            items.push(String::new());
        } else if let Some(last) = items.last_mut() {
            last.push(c);
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

fn parse_item(item: &str, points: &mut Vec<Point>) -> Result<(), ParseError> {
    let wrong = || ParseError::new(format!("{item:?} is not a point"));
    if item.starts_with("{{") {
        return parse_histograms(item, points);
    }
    if item == "stale" {
        points.push(float(stale_nan()));
        return Ok(());
    }
    if let Some(times) = item.strip_prefix('_') {
        let count = if times.is_empty() { 1 } else { repeats(times, item)? };
        points.extend(std::iter::repeat_n(Point::Gap, count));
        return Ok(());
    }
    if let Ok(value) = number(item) {
        points.push(float(value));
        return Ok(());
    }
    let (series, times) = item.rsplit_once('x').ok_or_else(wrong)?;
    let times = repeats(&format!("x{times}"), item)?;
    if let Ok(value) = number(series) {
        points.extend(std::iter::repeat_n(float(value), times + 1));
        return Ok(());
    }
    // The sign between start and step is neither the first character nor part of an exponent.
    let bytes = series.as_bytes();
    let at = (1..bytes.len())
        .find(|at| matches!(bytes[*at], b'+' | b'-') && !matches!(bytes[at - 1], b'e' | b'E'))
        .ok_or_else(wrong)?;
    let start = number(&series[..at]).map_err(|()| wrong())?;
    let step = number(&series[at + 1..]).map_err(|()| wrong())?;
    let step = if bytes[at] == b'-' { -step } else { step };
    let mut value = start;
    for _ in 0..=times {
        points.push(float(value));
        value += step;
    }
    Ok(())
}

fn parse_histograms(item: &str, points: &mut Vec<Point>) -> Result<(), ParseError> {
    let failed = |e: &dyn std::fmt::Display| ParseError::new(format!("{item}: {e}"));
    let end = item.find("}}").map_or(item.len(), |at| at + 2);
    let first = Histogram::parse(&item[..end]).map_err(|e| failed(&e))?;
    let rest = &item[end..];
    let all = if rest.is_empty() {
        vec![first]
    } else if let Some(times) = rest.strip_prefix('x') {
        vec![first; repeats(&format!("x{times}"), item)? + 1]
    } else {
        let (step, times) = rest[1..].rsplit_once('x').ok_or_else(|| failed(&"no count"))?;
        let step = Histogram::parse(step).map_err(|e| failed(&e))?;
        let times = repeats(&format!("x{times}"), item)?;
        let all = if rest.starts_with('-') {
            first.falling(&step, times)
        } else {
            first.rising(&step, times)
        };
        all.map_err(|e| failed(&e))?
    };
    let value = |h| Point::Value(SampleValue::Histogram(Arc::new(h)));
    points.extend(all.into_iter().map(value));
    Ok(())
}

fn float(value: f64) -> Point {
    Point::Value(SampleValue::Float(value))
}

fn repeats(text: &str, item: &str) -> Result<usize, ParseError> {
    let count = text.strip_prefix('x').and_then(|n| n.parse::<usize>().ok());
    count
        .filter(|n| *n <= POINTS_MAX)
        .ok_or_else(|| ParseError::new(format!("{item:?} does not say how often")))
}

/// A decimal number; `0x8` is eight more zeros, not a hexadecimal eight.
fn number(text: &str) -> Result<f64, ()> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let digits = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let word = ["inf", "nan"].iter().any(|w| unsigned.eq_ignore_ascii_case(w));
    if digits || word { text.parse().map_err(|_| ()) } else { Err(()) }
}

/// The samples of points that are `interval_ms` apart, the first at `start_ms`.
#[must_use]
pub fn place(labels: Labels, points: &[Point], start_ms: i64, interval_ms: i64) -> Points {
    let mut placed = Points { labels, ..Points::default() };
    let mut timestamp_ms = start_ms;
    for point in points {
        match point {
            Point::Gap => {}
            Point::Value(SampleValue::Float(value)) => {
                placed.floats.push(Sample { timestamp_ms, value: *value });
            }
            Point::Value(SampleValue::Histogram(value)) => {
                placed.histograms.push(HistogramSample { timestamp_ms, value: value.clone() });
            }
        }
        timestamp_ms = timestamp_ms.saturating_add(interval_ms);
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points() -> Result<(), ParseError> {
        for (text, expected) in [
            ("1 _ 2.5", "1 _ 2.5"),
            ("1+2x3", "1 3 5 7"),
            ("1-2x2 -1x1", "1 -1 -3 -1 -1"),
            ("_x3 4x0", "_ _ _ 4"),
            ("-1e-3+1e+2x1", "-0.001 99.999"),
            ("0x1 Inf -Inf NaN", "0 0 inf -inf NaN"),
            ("1--2x2", "1 3 5"),
            ("{{count:1 sum:2}}x1", "h h"),
        ] {
            let found: Vec<String> = parse_points(text)?
                .iter()
                .map(|point| match point {
                    Point::Gap => "_".to_owned(),
                    Point::Value(SampleValue::Float(value)) => value.to_string(),
                    Point::Value(SampleValue::Histogram(_)) => "h".to_owned(),
                })
                .collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
        for wrong in ["a", "1x", "x3", "1+x3", "_y", "1x9999999999999"] {
            assert!(parse_points(wrong).is_err(), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn metrics() -> Result<(), ParseError> {
        for (text, labels, rest) in [
            ("up 1 2", "up{}", " 1 2"),
            ("up{a=\"}\"} 1", "up{a=\"}\"}", " 1"),
            ("{__name__=\"x\", a=\"b\"} {{}}", "x{a=\"b\"}", " {{}}"),
            ("{} 3", "{}", " 3"),
            ("h {{count:1}}", "h{}", " {{count:1}}"),
            ("{a=\"\"} 3", "{}", " 3"),
        ] {
            let (found, left) = parse_labels(text)?;
            assert_eq!((found.to_string().as_str(), left), (labels, rest), "{text}");
        }
        assert!(parse_labels("rate(x[5m]) 1").is_err());
        Ok(())
    }
}
