//! A scheduled report on several services: as a mail, and as JSON for a webhook. Pure.

use std::fmt::Write;

use serde::Serialize;
use watchkeep_catalog::Time;

use super::{
    budget::Standing,
    detail::{Attainment, Detail},
    page::{Text, duration, percent},
    time::rfc3339,
};

/// Services that a mail names; the others are counted.
const NAMED_MAX: usize = 500;

/// What is sent.
#[derive(Debug, Serialize)]
pub(super) struct Digest<'a> {
    /// The schedule's name.
    pub(super) report: &'a str,
    /// When it was due.
    pub(super) due: Time,
    /// The window as it is asked for.
    pub(super) window: &'a str,
    /// Its first moment.
    pub(super) from: Time,
    /// The first moment behind it.
    pub(super) to: Time,
    /// Where reports are.
    #[serde(skip)]
    pub(super) url: &'a str,
    /// The worst first.
    pub(super) services: Vec<Detail>,
}

impl Digest<'_> {
    /// Puts the worst first.
    pub(super) fn sort(&mut self) {
        let key = |detail: &Detail| std::cmp::Reverse(detail.status);
        self.services.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.service.cmp(&b.service)));
    }

    /// `[SLO weekly] 2 of 12 services missed their objective`. Nobody is said to have kept a promise that was not measured.
    pub(super) fn subject(&self) -> String {
        let count = |standing| self.services.iter().filter(|d| d.status == standing).count();
        let (missed, unknown) = (count(Standing::Breached), count(Standing::NotEnoughData));
        let all = self.services.len();
        let words = match (missed, all - unknown) {
            (0, 0) => "not enough data on any service".to_owned(),
            (0, 1) if all == 1 => "the service kept its promise".to_owned(),
            (0, kept) if unknown == 0 => format!("all {kept} services kept their promise"),
            (0, kept) => format!("{kept} of {all} services kept their promise"),
            (_, _) => format!("{missed} of {all} services missed their objective"),
        };
        let rest = match unknown {
            0 => String::new(),
            _ if unknown == all => String::new(),
            _ => format!(", not enough data on {unknown}"),
        };
        format!("[SLO {}] {words}{rest}", self.report)
    }

    /// The plain part of the mail.
    pub(super) fn plain(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.subject(), self.span());
        for detail in self.services.iter().take(NAMED_MAX) {
            let (availability, latency) = (&detail.availability, &detail.latency);
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "{}: {}\n  available {} of {}, in time {}, down {} in {} downtimes, budget left {}{}\n  {}\n\n",
                detail.service,
                detail.status.words(),
                percent(availability.budget.ratio),
                percent(Some(availability.objective)),
                percent(latency.budget.ratio),
                duration(detail.downtime.seconds),
                detail.downtime.count,
                percent(least(availability, latency)),
                runs_out(detail).map_or(String::new(), |at| format!(", runs out {at}")),
                self.link(detail),
            );
        }
        text + &self.rest()
    }

    /// The HTML part of the mail: no style sheet, which many readers drop.
    pub(super) fn html(&self) -> String {
        let cell = "style=\"padding:4px 8px;border-bottom:1px solid #d9dee7;text-align:left\"";
        let row = |detail: &Detail| {
            let colour = match detail.status {
                Standing::Ok => "#2e7d32",
                Standing::AtRisk => "#b26a00",
                Standing::Breached => "#c62828",
                Standing::NotEnoughData => "#77808f",
            };
            format!(
                "<tr><td {cell}><a href=\"{}\">{}</a></td><td {cell}><b style=\"color:{colour}\">{}</b></td>\
                 <td {cell}>{}</td><td {cell}>{}</td><td {cell}>{}</td><td {cell}>{}</td></tr>",
                Text(&self.link(detail)),
                Text(&detail.service),
                detail.status.words(),
                percent(detail.availability.budget.ratio),
                percent(detail.latency.budget.ratio),
                percent(least(&detail.availability, &detail.latency)),
                duration(detail.downtime.seconds),
            )
        };
        let rows: String = self.services.iter().take(NAMED_MAX).map(row).collect();
        let head: String = ["Service", "Status", "Available", "In time", "Budget left", "Down"]
            .iter()
            .map(|name| format!("<th {cell}>{name}</th>"))
            .collect();
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"></head>\
             <body style=\"font:15px/1.5 sans-serif\"><h1 style=\"font-size:20px\">{}</h1><p>{}</p>\
             <div style=\"overflow-x:auto\"><table style=\"border-collapse:collapse\"><tr>{head}</tr>{rows}</table></div><p>{}</p></body></html>\n",
            Text(&self.subject()),
            Text(&self.span()),
            self.rest(),
        )
    }

    fn span(&self) -> String {
        let shown = |at: Time| rfc3339(at.timestamp_millis()).replace(".000Z", "Z");
        format!("{} ({} to {})", self.window.replace('_', " "), shown(self.from), shown(self.to))
    }

    fn rest(&self) -> String {
        match self.services.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            rest => format!("And {rest} more: {}/v1/slo?format=html", self.url),
        }
    }

    fn link(&self, detail: &Detail) -> String {
        let shown = |at: Time| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        format!(
            "{}/v1/slo/{}/report?from={}&to={}&time_zone={}&format=html",
            self.url,
            detail.service,
            shown(self.from),
            shown(self.to),
            detail.time_zone.replace('+', "%2B"),
        )
    }
}

fn least(a: &Attainment, b: &Attainment) -> Option<f64> {
    Some(a.budget.remaining_ratio?.min(b.budget.remaining_ratio?))
}

fn runs_out(detail: &Detail) -> Option<String> {
    let at = [detail.availability.runs_out_at, detail.latency.runs_out_at];
    at.into_iter().flatten().min().map(|at| rfc3339(at.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::detail::tests::detail;

    #[test]
    fn a_promise_that_was_not_measured_was_not_kept() {
        let digest = |services: &[(u64, u64)]| {
            let services = services.iter().map(|(total, bad)| detail(*total, *bad)).collect();
            let (due, from, to) = Default::default();
            let (report, window, url) = ("weekly", "last_week", "http://127.0.0.1:8480");
            Digest { report, due, window, from, to, url, services }.subject()
        };
        for (services, subject) in [
            (&[][..], "not enough data on any service"),
            (&[(0, 0)], "not enough data on any service"),
            (&[(100_000, 0)], "the service kept its promise"),
            (&[(100_000, 0), (100_000, 1)], "all 2 services kept their promise"),
            (&[(100_000, 0), (0, 0)], "1 of 2 services kept their promise, not enough data on 1"),
            (
                &[(100_000, 20), (100_000, 0), (3, 3)],
                "1 of 3 services missed their objective, not enough data on 1",
            ),
        ] {
            assert_eq!(digest(services), format!("[SLO weekly] {subject}"));
        }
    }

    #[test]
    fn the_worst_first() {
        let mut bad = detail(100_000, 20);
        bad.service = "zoo".to_owned();
        let mut digest = Digest {
            report: "weekly",
            due: Time::default(),
            window: "last_week",
            from: bad.from,
            to: bad.to,
            url: "http://127.0.0.1:8480",
            services: vec![detail(100_000, 0), bad],
        };
        digest.sort();
        assert_eq!(digest.services[0].service, "zoo");
        assert_eq!(digest.subject(), "[SLO weekly] 1 of 2 services missed their objective");
        assert!(
            digest.plain().contains("zoo: BREACHED\n  available 99.98 % of 99.99 %"),
            "{}",
            digest.plain()
        );
        assert!(digest.html().contains("/v1/slo/zoo/report?from="), "{}", digest.html());
        assert_eq!(serde_json::to_value(&digest).unwrap()["services"][0]["status"], "breached");
    }
}
