//! The report in detail as a page: plain HTML with its style and its chart inline. Pure.

use chrono_tz::Tz;

use super::{
    super::page::{Text, downtimes, duration, frame, moment, objective, percent, pill},
    Attainment, Burn, Counted, Detail, Excluded, Percentiles, Period,
    chart::{chart, points},
    markdown::signed,
};
use crate::slo::{interval::coalesce, range::Range};

/// Ranges that the page links to.
const RANGES: [&str; 6] = ["24h", "7d", "30d", "90d", "month", "last_month"];

/// The page. `counted` and `range` are what `detail` was made of.
pub(in super::super) fn page(
    detail: &Detail,
    counted: &Counted<'_>,
    range: &Range,
    zone: Tz,
) -> String {
    let down =
        coalesce(counted.days.iter().flat_map(|day| day.downtimes.iter().cloned()).collect());
    let name = Text(&detail.service);
    // In a query, a plus sign is a space.
    let zone_name = detail.time_zone.replace('+', "%2B");
    let link = |window: &str| {
        let here = if window == detail.window { " aria-current=\"page\"" } else { "" };
        let shown = window.replace('_', " ");
        format!(
            "<a{here} href=\"/v1/slo/{name}/report?window={window}&amp;time_zone={zone_name}&amp;format=html\">{shown}</a>"
        )
    };
    let tabs: String = RANGES.iter().map(|window| link(window)).collect();
    let span = match detail.window.contains('/') {
        false => format!("window={}", detail.window),
        true => format!(
            "from={}&amp;to={}",
            detail.from.format("%Y-%m-%dT%H:%M:%SZ"),
            detail.to.format("%Y-%m-%dT%H:%M:%SZ")
        ),
    };
    let as_files: Vec<_> = ["json", "csv", "md"]
        .iter()
        .map(|format| {
            format!(
                "<a href=\"/v1/slo/{name}/report?{span}&amp;time_zone={zone_name}&amp;format={format}\">{}</a>",
                format.to_uppercase(),
            )
        })
        .collect();
    let sparse = detail
        .sparse
        .as_ref()
        .map_or(String::new(), |sparse| format!("<p class=\"note\">{}</p>", Text(&sparse.text)));
    let latency = format!("Within {} ms", detail.objective.latency_ms);
    // Nobody probes what a document measures.
    let probed = |title: &str, shown: String| match detail.is_document() {
        true => String::new(),
        false => format!("<h2>{title}</h2>{shown}"),
    };
    let body = format!(
        "<h1>{name} {pill}</h1><p class=\"tabs\">{tabs}</p>\
         <p class=\"dim\">{from} to {to}, as of {as_of}. Days and months as in {zone}. {files}</p>{sparse}\
         <div class=\"cards\">{availability}{latency}{facts}</div>\
         <h2>Error budget</h2>{chart}\
         <h2>Burn rates</h2>{burn}\
         {times}\
         <h2>Month by month</h2>{months}\
         {downtimes}{maintenance}\
         <h2>Day by day</h2>{days}",
        pill = pill(detail.status),
        from = moment(detail.from.timestamp_millis()),
        to = moment(detail.to.timestamp_millis()),
        as_of = moment(detail.as_of.timestamp_millis()),
        zone = Text(&detail.time_zone),
        files = as_files.join(" · "),
        availability = card("Available", &detail.availability),
        latency = match detail.is_document() {
            true => String::new(),
            false => card(&latency, &detail.latency),
        },
        facts = facts(detail),
        chart = chart(&points(counted, range), range, zone, &down),
        burn = burn(detail),
        times = probed("Answer times", times(&detail.percentiles)),
        months = periods("Month", &detail.months),
        downtimes = probed("Downtimes", downtimes(&detail.downtimes)),
        maintenance = maintenance(&detail.maintenance),
        days = periods("Day", &detail.days),
    );
    frame(&format!("SLO of {}", detail.service), &body)
}

fn card(name: &str, attained: &Attainment) -> String {
    let budget = &attained.budget;
    let runs_out = match attained.runs_out_at {
        Some(at) => format!("At this rate the budget runs out {}.", moment(at.timestamp_millis())),
        None if budget.bad_probes > 0
            && budget.remaining_probes <= 1e-9 * budget.allowed_probes =>
        {
            "The budget is spent.".to_owned()
        }
        None => "It does not run out at this rate.".to_owned(),
    };
    format!(
        "<section>{}<p>Budget <b>{}</b> or {:.1} probes · left <b>{}</b> or {:.1} probes</p><p class=\"dim\">{runs_out}</p></section>",
        objective(name, budget),
        duration(budget.budget_total_seconds),
        budget.allowed_probes,
        signed(budget.budget_left_seconds),
        budget.remaining_probes,
    )
}

fn facts(detail: &Detail) -> String {
    let (down, coverage) = (&detail.downtime, &detail.coverage);
    if detail.is_document() {
        return format!(
            "<section><p><b>{}</b> events in {} of {} hours</p></section>",
            detail.probes.total, coverage.hours_with_probes, coverage.hours,
        );
    }
    format!(
        "<section><p><b>Down</b> {} in {}</p><p><b>Maintenance</b> {} · {} probes do not count</p>\
         <p class=\"dim\">{} probes in {} of {} hours</p></section>",
        duration(down.seconds),
        if down.count == 1 { "1 downtime".to_owned() } else { format!("{} downtimes", down.count) },
        duration(detail.maintenance.seconds),
        detail.maintenance.probes,
        detail.probes.total,
        coverage.hours_with_probes,
        coverage.hours,
    )
}

fn burn(detail: &Detail) -> String {
    let cell = |burn: &Burn| {
        let hot = burn.rate.is_some_and(|rate| rate > 1.0) && burn.confirmed;
        let text = super::markdown::burn(burn);
        if hot { format!("<b class=\"down\">{text}</b>") } else { text }
    };
    let rows: String = detail
        .burn
        .iter()
        .map(|rate| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                rate.window,
                cell(&rate.availability),
                cell(&rate.latency),
                rate.probes
            )
        })
        .collect();
    format!(
        "<div class=\"wide\"><table><thead><tr><th>Last</th><th>Available</th><th>In time</th><th>Probes</th></tr></thead>\
         <tbody>{rows}</tbody></table></div><p class=\"dim\">1 spends a budget exactly. Pages: 14.4 over 1 h and 5 min, or 6 \
         over 6 h and 30 min. Tickets: 3 over 24 h and 2 h, or 1 over 3 d and 6 h.</p>"
    )
}

fn times(times: &Percentiles) -> String {
    let cell =
        |seconds: Option<f64>| format!("<td>{}</td>", seconds.map_or("–".to_owned(), duration));
    let cells = [times.p50_seconds, times.p90_seconds, times.p99_seconds, times.p999_seconds];
    format!(
        "<div class=\"wide\"><table><thead><tr><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th></tr></thead><tbody><tr>{}</tr>\
         </tbody></table></div><p class=\"dim\">Of {} good probes; off by at most {:.1} %.</p>",
        cells.map(cell).concat(),
        times.probes,
        times.error_ratio * 100.0,
    )
}

fn periods(name: &str, periods: &[Period]) -> String {
    // Before the first probe there is nothing to say.
    let is_empty = |period: &Period| {
        let seen = period.probes.total + period.probes.excluded;
        seen == 0 && period.downtime_seconds <= 0.0 && period.maintenance_seconds <= 0.0
    };
    let first = periods.iter().position(|period| !is_empty(period));
    let before = first.unwrap_or(periods.len().saturating_sub(1));
    let note = match before {
        0 => String::new(),
        more => format!("<p class=\"dim\">{more} before without any data.</p>"),
    };
    let rows: String = periods[before..]
        .iter()
        .rev()
        .map(|period| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                Text(&period.name),
                pill(period.status),
                percent(period.availability_ratio),
                percent(period.latency_ratio),
                duration(period.downtime_seconds),
                duration(period.maintenance_seconds),
                period.probes.total,
            )
        })
        .collect();
    format!(
        "<div class=\"wide\"><table><thead><tr><th>{name}</th><th>Status</th><th>Available</th><th>In time</th><th>Down</th>\
         <th>Maintenance</th><th>Probes</th></tr></thead><tbody>{rows}</tbody></table></div>{note}"
    )
}

fn maintenance(excluded: &Excluded) -> String {
    if excluded.spans.is_empty() {
        return String::new();
    }
    let rows: String = excluded
        .spans
        .iter()
        .map(|span| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                moment(span.start.timestamp_millis()),
                span.end.map_or("goes on".to_owned(), |end| moment(end.timestamp_millis())),
                duration(span.duration_seconds),
                Text(span.cause.reason.as_deref().unwrap_or_default()),
            )
        })
        .collect();
    format!(
        "<h2>Maintenance</h2><p class=\"dim\">Counted neither as up nor as down.</p><div class=\"wide\"><table><thead><tr>\
         <th>From</th><th>To</th><th>Length</th><th>Window</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}
