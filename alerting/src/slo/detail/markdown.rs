//! The report as Markdown, for a wiki, an issue or a mail. Pure.

use std::fmt::Write;

use super::{
    super::page::{duration, percent},
    Attainment, Burn, Detail, Period,
};
use crate::slo::{report::Interval, time::rfc3339};

/// Downtimes that are listed.
const DOWNTIMES_MAX: usize = 50;

/// The report.
pub(in super::super) fn markdown(detail: &Detail) -> String {
    let mut text = format!(
        "# SLO of {}: {}\n\n{} to {} ({}), as of {}.\n\n",
        cell(&detail.service),
        detail.status.words(),
        moment(detail.from.timestamp_millis()),
        moment(detail.to.timestamp_millis()),
        cell(&detail.window),
        moment(detail.as_of.timestamp_millis()),
    );
    if let Some(sparse) = &detail.sparse {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "> {}\n", sparse.text);
    }
    text.push_str(
        "| Objective | Promised | Kept | Status | Budget | Left | Left in time | Runs out |\n",
    );
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    let latency = format!("Within {} ms", detail.objective.latency_ms);
    text.push_str(&row("Available", &detail.availability));
    if !detail.is_document() {
        text.push_str(&row(&latency, &detail.latency));
    }
    match detail.is_document() {
        // Nobody probes what a document measures.
        true => {
            let (hours, of) = (detail.coverage.hours_with_probes, detail.coverage.hours);
            let _ = write!(text, "\n{} events in {hours} of {of} hours.\n\n", detail.probes.total);
        }
        false => probed(&mut text, detail),
    }
    text.push_str(
        "## Burn rates\n\n| Window | Available | In time | Probes |\n| --- | --- | --- | --- |\n",
    );
    for rate in &detail.burn {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            rate.window,
            burn(&rate.availability),
            burn(&rate.latency),
            rate.probes
        );
    }
    text.push_str("\n## Month by month\n\n");
    text.push_str("| Month | Available | In time | Status | Down | Downtimes | Maintenance |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    detail.months.iter().for_each(|month| text.push_str(&period(month)));
    if !detail.is_document() {
        downtimes(&mut text, detail);
    }
    text
}

/// The downtimes, the first of them.
fn downtimes(text: &mut String, detail: &Detail) {
    text.push_str("\n## Downtimes\n\n");
    if detail.downtimes.is_empty() {
        text.push_str("None.\n");
    } else {
        text.push_str("| From | To | Length | Instance | Reason | Incident | Failover |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        detail.downtimes.iter().take(DOWNTIMES_MAX).for_each(|down| text.push_str(&downtime(down)));
    }
    let rest = detail.downtimes.len().saturating_sub(DOWNTIMES_MAX);
    if rest > 0 {
        let _ = writeln!(text, "\nAnd {rest} more.");
    }
}

/// What probes alone tell: when it was down, and how long answers took.
fn probed(text: &mut String, detail: &Detail) {
    let (down, excused) = (&detail.downtime, &detail.maintenance);
    let _ = write!(
        text,
        "\n{} probes in {} of {} hours. Down {} in {}. Maintenance: {}, and {} probes that do not \
         count.\n\n",
        detail.probes.total,
        detail.coverage.hours_with_probes,
        detail.coverage.hours,
        duration(down.seconds),
        match down.count {
            1 => "1 downtime".to_owned(),
            count => format!("{count} downtimes"),
        },
        duration(excused.seconds),
        excused.probes,
    );
    let times = &detail.percentiles;
    let time = |seconds: Option<f64>| seconds.map_or("–".to_owned(), duration);
    let _ = write!(
        text,
        "## Answer times\n\n| p50 | p90 | p99 | p99.9 | Probes |\n| --- | --- | --- | --- | --- |\n| {} | {} | {} | {} | {} |\n\n\
         Off by at most {:.1} %.\n\n",
        time(times.p50_seconds),
        time(times.p90_seconds),
        time(times.p99_seconds),
        time(times.p999_seconds),
        times.probes,
        times.error_ratio * 100.0,
    );
}

fn row(name: &str, objective: &Attainment) -> String {
    let budget = &objective.budget;
    format!(
        "| {name} | {} | {} | {} | {:.1} probes, {} | {} ({:.1} probes) | {} | {} |\n",
        percent(Some(objective.objective)),
        percent(budget.ratio),
        budget.status.words(),
        budget.allowed_probes,
        duration(budget.budget_total_seconds),
        percent(budget.remaining_ratio),
        budget.remaining_probes,
        signed(budget.budget_left_seconds),
        objective.runs_out_at.map_or("–".to_owned(), |at| moment(at.timestamp_millis())),
    )
}

/// A length of time that may be negative.
pub(super) fn signed(seconds: f64) -> String {
    if seconds < 0.0 { format!("−{}", duration(-seconds)) } else { duration(seconds) }
}

/// A burn rate, and whether it can be believed.
pub(super) fn burn(burn: &Burn) -> String {
    let rate = burn.rate.map_or("–".to_owned(), |rate| format!("{rate:.2}"));
    match burn.rate.is_some_and(|rate| rate > 1.0) && !burn.confirmed {
        true => format!("{rate} (not confirmed)"),
        false => rate,
    }
}

fn period(period: &Period) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        period.name,
        percent(period.availability_ratio),
        percent(period.latency_ratio),
        period.status.words(),
        duration(period.downtime_seconds),
        period.downtimes,
        duration(period.maintenance_seconds),
    )
}

fn downtime(down: &Interval) -> String {
    let said = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        moment(down.start.timestamp_millis()),
        down.end.map_or("goes on".to_owned(), |end| moment(end.timestamp_millis())),
        duration(down.duration_seconds),
        said(&down.cause.instance),
        said(&down.cause.reason),
        said(&down.cause.incident),
        said(&down.cause.failover),
    )
}

fn moment(ms: i64) -> String {
    rfc3339(ms).replace('T', " ").replace(".000Z", " UTC").replace('Z', " UTC")
}

/// Text that stays in its cell, and is text.
fn cell(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\r' => safe.push(' '),
            '|' | '<' | '>' | '*' | '_' | '`' | '[' | ']' | '\\' => safe.extend(['\\', char]),
            other => safe.push(other),
        }
    }
    safe
}
