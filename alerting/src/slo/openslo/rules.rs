//! Documents as Prometheus rules: recording rules for the windows of burn rates, and alerts over them. The text is a rule
//! file like any other, so Watchkeep's own engine and a Prometheus evaluate the same. Pure.
//!
//! Formulae are those of the SRE workbook, chapter 5, with the error ratio of each window recorded as sloth records it:
//! `slo:sli_error:ratio_rate5m` and so on.

use std::fmt::Write;

use super::{Alert, Indicator, Method, Slo};
use crate::rule::format_duration;

/// Windows that are recorded, with their seconds.
const WINDOWS: [(&str, u64); 7] = [
    ("5m", 300),
    ("30m", 1_800),
    ("1h", 3_600),
    ("2h", 7_200),
    ("6h", 21_600),
    ("1d", 86_400),
    ("3d", 259_200),
];
/// Long window, short window, factor.
type Pair = (&'static str, &'static str, f64);
/// The pairs: name, severity, and long and short window with the factor of each of two.
const PAIRS: [(&str, &str, [Pair; 2]); 2] = [
    ("SloBudgetBurnFast", "critical", [("1h", "5m", 14.4), ("6h", "30m", 6.0)]),
    ("SloBudgetBurnSlow", "warning", [("1d", "2h", 3.0), ("3d", "6h", 1.0)]),
];
/// Of counted events, more bad ones than this confirm a burn rate.
const CONFIRMING: u64 = 2;

/// The rule file.
#[must_use]
pub fn rules(slos: &[Slo]) -> String {
    let mut text = "groups:\n".to_owned();
    if slos.is_empty() {
        text = "groups: []\n".to_owned();
    }
    for slo in slos {
        // Writing to a string does not fail, here and below.
        let _ = write!(text, "{}", Group(slo));
    }
    text
}

struct Group<'a>(&'a Slo);

impl std::fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slo = self.0;
        if let Some((seconds, record, expr)) = slices(slo) {
            writeln!(f, "  - name: {}", quoted(&format!("openslo-{}.slices", slo.name)))?;
            writeln!(f, "    interval: {}", duration(seconds))?;
            writeln!(f, "    rules:")?;
            rule(f, "record", record, &expr, slo)?;
        }
        writeln!(f, "  - name: {}", quoted(&format!("openslo-{}", slo.name)))?;
        writeln!(f, "    interval: 1m")?;
        writeln!(f, "    rules:")?;
        rule(f, "record", "slo:objective:ratio", &format!("vector({})", slo.target), slo)?;
        for (name, seconds) in WINDOWS {
            let record = format!("slo:sli_error:ratio_rate{name}");
            rule(f, "record", &record, &error_ratio(slo, seconds), slo)?;
        }
        let counted = bad_events(slo, 300).is_some();
        for (name, seconds) in WINDOWS.into_iter().filter(|(name, _)| is_short(name)) {
            if let Some(expr) = bad_events(slo, seconds) {
                rule(f, "record", &format!("slo:bad_events:increase{name}"), &expr, slo)?;
            }
        }
        if slo.alerts.is_empty() {
            return pairs(f, slo, counted);
        }
        slo.alerts.iter().try_for_each(|alert| own(f, slo, alert))
    }
}

/// Whether a window is the shorter of a pair.
fn is_short(name: &str) -> bool {
    PAIRS.iter().any(|(_, _, pairs)| pairs.iter().any(|(_, short, _)| *short == name))
}

fn quoted(text: &str) -> String {
    // JSON's strings are YAML's.
    serde_json::Value::from(text).to_string()
}

fn duration(seconds: u64) -> String {
    format_duration(std::time::Duration::from_secs(seconds))
}

fn labels(slo: &Slo) -> String {
    format!("slo: {}, service: {}", quoted(&slo.name), quoted(&text(&slo.service)))
}

fn rule(
    f: &mut std::fmt::Formatter<'_>,
    kind: &str,
    name: &str,
    expr: &str,
    slo: &Slo,
) -> std::fmt::Result {
    writeln!(f, "      - {kind}: {name}")?;
    writeln!(f, "        expr: {}", quoted(expr))?;
    writeln!(f, "        labels: {{{}}}", labels(slo))
}

fn pairs(f: &mut std::fmt::Formatter<'_>, slo: &Slo, counted: bool) -> std::fmt::Result {
    let of = |record: &str| format!("{record}{{slo=\"{}\"}}", slo.name);
    // Written so that 1 − 0.999 stays 0.001.
    let allowed = ((1.0 - slo.target) * 1e12).round() / 1e12;
    for (name, severity, pairs) in PAIRS {
        let arm = |(long, short, factor): &Pair| {
            let ratio = |window: &str| of(&format!("slo:sli_error:ratio_rate{window}"));
            let confirmed = match counted {
                true => format!(
                    " and {} > {CONFIRMING}",
                    of(&format!("slo:bad_events:increase{short}"))
                ),
                false => String::new(),
            };
            format!(
                "({} > ({factor} * {allowed}) and {} > ({factor} * {allowed}){confirmed})",
                ratio(long),
                ratio(short)
            )
        };
        let expr = format!("{} or {}", arm(&pairs[0]), arm(&pairs[1]));
        writeln!(f, "      - alert: {name}")?;
        writeln!(f, "        expr: {}", quoted(&expr))?;
        writeln!(f, "        labels: {{severity: {severity}, {}}}", labels(slo))?;
        writeln!(f, "        annotations:")?;
        let summary = format!("{} spends its error budget too fast", slo.display_name);
        writeln!(f, "          summary: {}", quoted(&text(&summary)))?;
        writeln!(
            f,
            "          description: \"{{{{ $value | humanizePercentage }}}} of it fails.\""
        )?;
        writeln!(f, "          runbook_url: http://127.0.0.1:8480/runbooks/Watchkeep{name}")?;
    }
    Ok(())
}

/// An alert of the document's own.
fn own(f: &mut std::fmt::Formatter<'_>, slo: &Slo, alert: &Alert) -> std::fmt::Result {
    let mut targets = alert.targets.clone();
    targets.sort();
    let labels = format!(
        "severity: {}, policy: {}, notification_target: {}, {}",
        quoted(&text(&alert.severity)),
        quoted(&text(&alert.policy)),
        quoted(&text(&targets.join(","))),
        labels(slo)
    );
    let mut say = |name: &str, expr: &str, summary: &str| {
        writeln!(f, "      - alert: {name}")?;
        writeln!(f, "        expr: {}", quoted(expr))?;
        if alert.after_seconds > 0 {
            writeln!(f, "        for: {}", duration(alert.after_seconds))?;
        }
        writeln!(f, "        labels: {{{labels}}}")?;
        writeln!(f, "        annotations:")?;
        writeln!(f, "          summary: {}", quoted(&text(summary)))?;
        writeln!(
            f,
            "          runbook_url: http://127.0.0.1:8480/runbooks/WatchkeepSloBudgetBurnFast"
        )
    };
    let allowed = ((1.0 - slo.target) * 1e12).round() / 1e12;
    let ratio = error_ratio(slo, alert.lookback_seconds);
    if alert.breaching {
        let expr = format!("({ratio}) / {allowed} > {}", alert.threshold);
        let summary = format!(
            "{} burns its budget more than {} times too fast",
            slo.display_name, alert.threshold
        );
        say("SloBudgetBurn", &expr, &summary)?;
    }
    if alert.no_data {
        let summary = format!("{} measures nothing", slo.display_name);
        say("SloNoData", &format!("absent({ratio})"), &summary)?;
    }
    Ok(())
}

/// Text that no template engine takes for its own.
fn text(words: &str) -> String {
    words.replace("{{", "{ {")
}

/// Where there are slices of time: their seconds, and the series that each is recorded in.
fn slices(slo: &Slo) -> Option<(u64, &'static str, String)> {
    let good = |seconds| format!("1 - ({})", events(slo, seconds));
    match slo.method {
        Method::Occurrences => None,
        Method::Timeslices { seconds, target } => {
            let expr = format!("({}) >= bool {target}", good(seconds));
            Some((seconds, "slo:slice_good:bool", expr))
        }
        Method::RatioTimeslices { seconds } => Some((seconds, "slo:slice:ratio", good(seconds))),
    }
}

/// The share that is bad over so many seconds, by the method of the document.
fn error_ratio(slo: &Slo, seconds: u64) -> String {
    match slices(slo) {
        None => events(slo, seconds),
        Some((slice, record, _)) => {
            // A slice is known at its end only: over less than one, the last one tells.
            let window = duration(seconds.max(slice));
            format!("1 - avg_over_time({record}{{slo=\"{}\"}}[{window}])", slo.name)
        }
    }
}

/// The share of bad events over so many seconds: of a composite, the weighted mean.
fn events(slo: &Slo, seconds: u64) -> String {
    let window = duration(seconds);
    events_within(slo, &window, &window)
}

/// The same over the window `rates` where counters grow, and over `samples` where samples are added up or averaged.
pub(super) fn events_within(slo: &Slo, rates: &str, samples: &str) -> String {
    match slo.indicators.as_slice() {
        [(indicator, _)] => share(indicator, rates, samples),
        several => {
            let sum: f64 = several.iter().map(|(_, weight)| weight).sum();
            let parts = several
                .iter()
                .map(|(i, weight)| format!("{weight} * ({})", share(i, rates, samples)));
            format!("({}) / {sum}", parts.collect::<Vec<_>>().join(" + "))
        }
    }
}

fn share(indicator: &Indicator, rates: &str, samples: &str) -> String {
    let window = samples;
    match indicator {
        Indicator::Ratio { counter, part, part_is_good, total } => {
            let (over, window) = match counter {
                true => ("rate", rates),
                false => ("sum_over_time", samples),
            };
            let (part, total) = (sum(over, part, window), sum(over, total, window));
            match part_is_good {
                true => format!("1 - (({part}) or vector(0)) / ({total})"),
                false => format!("(({part}) or vector(0)) / ({total})"),
            }
        }
        Indicator::Raw { query, success } => {
            let mean = format!("avg(avg_over_time({}))", ranged(query, window));
            if *success { format!("1 - {mean}") } else { mean }
        }
        Indicator::Threshold { query, op, value } => {
            format!("1 - avg(avg_over_time((({query}) {op} bool {value})[{window}:1m]))")
        }
    }
}

/// The number of bad events over so many seconds, where events are counted.
fn bad_events(slo: &Slo, seconds: u64) -> Option<String> {
    let [(Indicator::Ratio { counter, part, part_is_good, total }, _)] = slo.indicators.as_slice()
    else {
        return None;
    };
    if slo.method != Method::Occurrences {
        return None;
    }
    let over = if *counter { "increase" } else { "sum_over_time" };
    let window = duration(seconds);
    let (part, total) = (sum(over, part, &window), sum(over, total, &window));
    Some(match part_is_good {
        true => format!("({total}) - (({part}) or vector(0))"),
        false => format!("({part}) or vector(0)"),
    })
}

/// `sum(rate(x[5m]))`: of a selector, and of a sum of one, as people write it by hand; of anything else by a subquery.
pub(super) fn sum(over: &str, query: &str, window: &str) -> String {
    let inner = query.strip_prefix("sum(").and_then(|rest| rest.strip_suffix(')'));
    let selector = inner.filter(|inner| is_selector(inner)).unwrap_or(query);
    format!("sum({over}({}))", ranged(selector, window))
}

fn ranged(query: &str, window: &str) -> String {
    match is_selector(query) {
        true => format!("{query}[{window}]"),
        false => format!("({query})[{window}:1m]"),
    }
}

/// Whether it is a metric's name, with or without matchers.
pub(super) fn is_selector(query: &str) -> bool {
    let end = query.find('{').unwrap_or(query.len());
    let (name, matchers) = query.split_at(end);
    let named = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
        && !name.bytes().next().is_some_and(|b| b.is_ascii_digit());
    let mut string: Option<char> = None;
    let mut escaped = false;
    let mut closed = matchers.is_empty();
    for (at, char) in matchers.char_indices().skip(1) {
        match string {
            Some(_) if escaped => escaped = false,
            Some(_) if char == '\\' => escaped = true,
            Some(quote) if char == quote => string = None,
            Some(_) => {}
            None if matches!(char, '"' | '\'' | '`') => string = Some(char),
            None if char == '}' => {
                closed = at + 1 == matchers.len();
                break;
            }
            None => {}
        }
    }
    named && closed && !(name.is_empty() && matchers.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_selector() {
        for (query, selector) in [
            ("up", true),
            (r#"x{code=~"2..|}",a='{'}"#, true),
            (r#"{__name__="x"}"#, true),
            ("x + y", false),
            (r#"x{a="b"} + y{c="d"}"#, false),
            ("rate(x[5m])", false),
            ("5", false),
        ] {
            assert_eq!(is_selector(query), selector, "{query}");
        }
        assert_eq!(sum("rate", r#"sum(x{a="b"})"#, "5m"), r#"sum(rate(x{a="b"}[5m]))"#);
        assert_eq!(sum("rate", "sum(x) - sum(y)", "5m"), "sum(rate((sum(x) - sum(y))[5m:1m]))");
    }
}
