//! The report as pages for people: plain HTML, its style inline, nothing loaded from elsewhere.

use std::fmt::{self, Write};

use super::{
    budget::{Budget, Standing},
    openslo,
    page_strip::strip,
    report::{Interval, Report, Window, WindowReport},
    sweep::State,
    time::rfc3339,
};

const STYLE: &str = include_str!("page.css");

/// Text that is escaped when displayed.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// All services over one window.
pub(super) fn list(window: Window, services: &[Report], now: i64) -> String {
    let rows: String = services.iter().map(row).collect();
    let tabs: String = Window::ALL
        .into_iter()
        .map(|w| {
            let here = if w == window { " aria-current=\"page\"" } else { "" };
            format!("<a{here} href=\"/v1/slo?window={0}&amp;format=html\">{0}</a>", w.name())
        })
        .collect();
    let table = if rows.is_empty() {
        "<p class=\"dim\">No service is registered yet.</p>".to_owned()
    } else {
        format!(
            "<div class=\"wide\"><table class=\"list\"><thead><tr><th>Service</th><th>Now</th><th>Status</th>\
             <th>Available</th><th>In time</th><th>Error budget left</th><th>Down</th></tr></thead>\
             <tbody>{rows}</tbody></table></div>"
        )
    };
    let body = format!(
        "<h1>Service levels</h1><p class=\"tabs\">{tabs}<span class=\"dim\">as of {}</span></p>{table}",
        moment(now)
    );
    frame("Service levels", &body)
}

fn row(report: &Report) -> String {
    let Some(window) = report.windows.first() else { return String::new() };
    // Nobody probes what a document measures.
    let probed = |text: String| if is_document(report) { "–".to_owned() } else { text };
    format!(
        "<tr><td><a href=\"/v1/slo/{name}?format=html\">{name}</a></td><td>{state}</td><td>{standing}</td>\
         <td data-label=\"available\">{availability}</td><td data-label=\"in time\">{latency}</td>\
         <td data-label=\"budget left\">{budget}</td><td data-label=\"down\">{down}</td></tr>",
        name = Text(&report.service),
        state = probed(state(report.state).to_owned()),
        standing = pill(window.status()),
        availability = percent(window.availability.ratio),
        latency = probed(percent(window.latency.ratio)),
        budget = percent(least(window)),
        down = probed(duration(window.downtime.seconds)),
    )
}

fn is_document(report: &Report) -> bool {
    openslo::is_key(&report.service)
}

/// What is left of the budget that is nearer to its end.
fn least(window: &WindowReport) -> Option<f64> {
    let (a, b) = (window.availability.remaining_ratio?, window.latency.remaining_ratio?);
    Some(a.min(b))
}

/// One service over all windows.
pub(super) fn one(report: &Report) -> String {
    let cards: String = report.windows.iter().map(|w| card(w, report)).collect();
    let share = percent(Some(report.objective.availability));
    let (promise, state) = match is_document(report) {
        true => (format!("{share} of events are good"), ""),
        false => {
            let within = report.objective.latency_ms;
            let promise = format!("{share} of probes succeed, and {share} within {within} ms");
            (promise, state(report.state))
        }
    };
    let name = Text(&report.service);
    let body = format!(
        "<h1>{name} {state}</h1>\
         <p class=\"dim\">Promise: {promise}. As of {as_of}. \
         <a href=\"/v1/slo/{name}?format=json\">JSON</a> · \
         <a href=\"/v1/slo/{name}/report?format=html\">Report in detail</a></p>\
         <div class=\"cards\">{cards}</div>\
         <h2>Last 24 hours</h2>{strip}\
         <h2>Downtimes in 30 days</h2>{downtimes}{no_data}",
        as_of = moment(report.as_of.timestamp_millis()),
        strip = strip(report),
        downtimes = downtimes(&report.downtimes),
        no_data = no_data(&report.no_data),
    );
    frame(&report.service, &body)
}

fn card(window: &WindowReport, report: &Report) -> String {
    let down = &window.downtime;
    if is_document(report) {
        return format!(
            "<section><h3>{} {}</h3>{}<p class=\"dim\">{} events since {}</p></section>",
            window.window.name(),
            pill(window.status()),
            objective("Good", &window.availability),
            window.probes.total,
            moment(window.from.timestamp_millis()),
        );
    }
    format!(
        "<section><h3>{name} {pill}</h3>{availability}{latency}\
         <p><b>Down</b> {seconds} in {count}</p>\
         <p class=\"dim\">{total} probes since {from}</p></section>",
        name = window.window.name(),
        pill = pill(window.status()),
        availability = objective("Available", &window.availability),
        latency = objective(&format!("Within {} ms", report.objective.latency_ms), &window.latency),
        seconds = duration(down.seconds),
        count = if down.count == 1 {
            "1 downtime".to_owned()
        } else {
            format!("{} downtimes", down.count)
        },
        total = window.probes.total,
        from = moment(window.from.timestamp_millis()),
    )
}

/// A share with its budget as a bar.
pub(super) fn objective(name: &str, budget: &Budget) -> String {
    let left = budget.remaining_ratio.unwrap_or(1.0);
    let class = match budget.status {
        Standing::NotEnoughData => "none",
        Standing::Ok => "ok",
        Standing::AtRisk => "risk",
        Standing::Breached => "breached",
    };
    // An overspent budget is a full bar of the colour of breach.
    let width = if left < 0.0 { 100.0 } else { left * 100.0 };
    format!(
        "<p><b>{}</b> <span class=\"share\">{}</span></p>\
         <div class=\"bar {class}\" role=\"img\" aria-label=\"error budget left: {percent}\">\
         <i style=\"width:{width:.2}%\"></i></div>\
         <p class=\"dim\">budget left {percent} · {} bad of {:.1} allowed · burn rate {}</p>",
        Text(name),
        percent(budget.ratio),
        budget.bad_probes,
        budget.allowed_probes,
        budget.burn_rate.map_or("–".to_owned(), |burn| format!("{burn:.2}")),
        percent = percent(budget.remaining_ratio),
    )
}

pub(super) fn downtimes(list: &[Interval]) -> String {
    if list.is_empty() {
        return "<p class=\"dim\">None.</p>".to_owned();
    }
    let row = |down: &Interval| {
        let cause = &down.cause;
        let incident = cause
            .incident
            .as_ref()
            .map_or(String::new(), |id| format!("<a href=\"/incidents/{0}\">{0}</a>", Text(id)));
        let failover = cause
            .failover
            .as_ref()
            .map_or(String::new(), |id| format!("<a href=\"/failovers/{0}\">{0}</a>", Text(id)));
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{incident}</td><td>{failover}</td></tr>",
            moment(down.start.timestamp_millis()),
            end(down),
            duration(down.duration_seconds),
            Text(cause.instance.as_deref().unwrap_or_default()),
            Text(cause.reason.as_deref().unwrap_or_default()),
        )
    };
    let rows: String = list.iter().map(row).collect();
    format!(
        "<div class=\"wide\"><table><thead><tr><th>From (first failed probe)</th><th>To (first good probe)</th>\
         <th>Length</th><th>Instance</th><th>Reason</th><th>Incident</th><th>Failover</th></tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    )
}

fn no_data(list: &[Interval]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let row = |gap: &Interval| {
        let (from, length) = (moment(gap.start.timestamp_millis()), duration(gap.duration_seconds));
        format!("<tr><td>{from}</td><td>{}</td><td>{length}</td></tr>", end(gap))
    };
    let rows: String = list.iter().map(row).collect();
    format!(
        "<h2>No data in 24 hours</h2><p class=\"dim\">No fresh probe of any serving instance: \
         counted neither as up nor as down.</p><div class=\"wide\"><table><thead><tr><th>From</th>\
         <th>To</th><th>Length</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

fn end(interval: &Interval) -> String {
    match interval.end {
        Some(end) => moment(end.timestamp_millis()),
        None => "<b class=\"down\">goes on</b>".to_owned(),
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Up => "<span class=\"pill ok\">UP</span>",
        State::Down => "<span class=\"pill breached\">DOWN</span>",
        State::Maintenance => "<span class=\"pill none\">MAINTENANCE</span>",
        State::Unknown => "<span class=\"pill none\">NO DATA</span>",
    }
}

pub(super) fn pill(standing: Standing) -> String {
    let class = match standing {
        Standing::NotEnoughData => "none",
        Standing::Ok => "ok",
        Standing::AtRisk => "risk",
        Standing::Breached => "breached",
    };
    format!("<span class=\"pill {class}\">{}</span>", standing.words())
}

/// A share with four decimals, never rounded up to a promise that was not kept.
pub(super) fn percent(ratio: Option<f64>) -> String {
    let Some(ratio) = ratio else { return "–".to_owned() };
    if ratio <= -1.0 {
        // Of a budget that is spent several times over, parts of a percent tell nothing.
        return format!("{:.0} %", (ratio * 100.0 + 1e-6).floor());
    }
    // 0.9999 is a little less than it says; the shares themselves are coarser than this.
    let floored = (ratio * 1e6 + 1e-3).floor() / 1e4;
    let text = format!("{floored:.4}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `420 ms`, `2.5 s`, `3 min 20 s`, `1 h 5 min`, `2 d 3 h`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as i64;
    match whole {
        _ if seconds <= 0.0 => "0 s".to_owned(),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        ..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// A moment in UTC, with the machine's form beside it.
pub(super) fn moment(ms: i64) -> String {
    let machine = rfc3339(ms);
    let shown = machine.replace('T', " ").replace('Z', " UTC");
    format!("<time datetime=\"{machine}\">{shown}</time>")
}

pub(super) fn frame(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{} · Watchkeep</title><style>{STYLE}</style></head><body>\
         <nav><a href=\"/\">Console</a><a href=\"/alerts\">Alerts</a><a href=\"/incidents\">Incidents</a><a href=\"/failovers\">Failovers</a><a href=\"/oncall\">On call</a><a href=\"/v1/slo?format=html\">SLO</a>\
         <a href=\"/runbooks/\">Runbooks</a><a href=\"/dashboards/\">Dashboards</a>\
         <a href=\"/metrics\">Metrics</a></nav><main>{body}</main></body></html>\n",
        Text(title)
    )
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
