//! The report as CSV (RFC 4180): a row per day, per month, and one for the whole range. Pure.

use super::{Detail, Period};
use crate::slo::budget::Standing;

const HEAD: &str = "row,name,from,to,probes,good,in_time,excluded,availability_ratio,latency_ratio,status,\
                    downtimes,downtime_seconds,maintenance_seconds,p50_seconds,p90_seconds,p99_seconds,p999_seconds";

/// The table; lines end as RFC 4180 has it.
pub(in super::super) fn csv(detail: &Detail) -> String {
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let times = &detail.percentiles;
    let quantiles = [times.p50_seconds, times.p90_seconds, times.p99_seconds, times.p999_seconds];
    let whole = Period {
        name: detail.window.clone(),
        from: detail.from,
        to: detail.to,
        probes: detail.probes,
        availability_ratio: detail.availability.budget.ratio,
        latency_ratio: detail.latency.budget.ratio,
        status: detail.status,
        downtime_seconds: detail.downtime.seconds,
        downtimes: detail.downtime.count,
        maintenance_seconds: detail.maintenance.seconds,
    };
    let line = |kind: &str, period: &Period, quantiles: &[Option<f64>; 4]| {
        let quantiles = quantiles.map(number).join(",");
        format!(
            "{kind},{},{},{},{},{},{},{},{},{},{},{},{},{},{quantiles}\r\n",
            quoted(&period.name),
            period.from.to_rfc3339(),
            period.to.to_rfc3339(),
            period.probes.total,
            period.probes.good,
            period.probes.fast,
            period.probes.excluded,
            number(period.availability_ratio),
            number(period.latency_ratio),
            word(period.status),
            period.downtimes,
            period.downtime_seconds,
            period.maintenance_seconds,
        )
    };
    let none = [None; 4];
    let days = detail.days.iter().map(|day| line("day", day, &none));
    let months = detail.months.iter().map(|month| line("month", month, &none));
    let rows: String = days.chain(months).chain([line("range", &whole, &quantiles)]).collect();
    format!("{HEAD}\r\n{rows}")
}

fn word(status: Standing) -> &'static str {
    match status {
        Standing::NotEnoughData => "not_enough_data",
        Standing::Ok => "ok",
        Standing::AtRisk => "at_risk",
        Standing::Breached => "breached",
    }
}

/// Text as a field; what a spreadsheet would take for a formula is text to it, too.
fn quoted(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return quoted(&format!("'{text}"));
    }
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_text() {
        for (text, field) in [
            ("30d", "30d"),
            ("2026-10-01/now", "2026-10-01/now"),
            ("+2026-10-01/now", "'+2026-10-01/now"),
            ("=1+1", "'=1+1"),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("-a,b", "\"'-a,b\""),
        ] {
            assert_eq!(quoted(text), field);
        }
    }
}
