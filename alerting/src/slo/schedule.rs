//! Reports that are sent by themselves: when, of what, to whom. Pure.

use std::str::FromStr;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use watchkeep_catalog::{Time, check_name};

use super::{
    range::{Range, Wish},
    time::DAY_MS,
};
use crate::oncall::Handoff;

/// A report that is sent by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportSchedule {
    /// Unique.
    pub name: String,
    /// Cron line: six or seven fields with seconds, or crontab's five.
    pub schedule: String,
    /// On whose wall clock it is read, and whose days and months are reported; none: that of all reports.
    pub time_zone: Option<String>,
    /// The services; empty: all.
    pub services: Vec<String>,
    /// Over which window; empty: `last_week`.
    pub window: String,
    /// Names of people and receivers.
    pub to: Vec<String>,
}

impl ReportSchedule {
    /// The window, as it is asked for.
    pub(super) fn window(&self) -> &str {
        if self.window.is_empty() { "last_week" } else { &self.window }
    }

    /// Its zone; `usual` where it names none.
    pub(super) fn zone(&self, usual: Tz) -> Tz {
        self.time_zone.as_deref().and_then(|zone| Tz::from_str(zone).ok()).unwrap_or(usual)
    }

    /// The last moment in (`after`, `until`] at which it is due.
    pub(super) fn due(&self, usual: Tz, after: Time, until: Time) -> Option<Time> {
        Handoff::new(&self.schedule, self.zone(usual)).ok()?.last(after, until)
    }

    /// What is wrong with it: field and message. `twice`: another one has its name.
    pub(super) fn validate(&self, retention_days: u16, twice: bool) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        if let Err(error) = check_name("report", &self.name) {
            wrong.push(("name", error.to_string()));
        } else if twice {
            let message =
                format!("{:?} stands here twice: give each report its own name", self.name);
            wrong.push(("name", message));
        }
        let zone = self.time_zone.as_deref().unwrap_or("UTC");
        match Tz::from_str(zone) {
            Ok(zone) => {
                if let Err(message) = Handoff::new(&self.schedule, zone) {
                    wrong.push(("schedule", message));
                }
            }
            Err(_) => {
                let message =
                    format!("{zone:?} is not a time zone: give an IANA name such as Europe/Berlin");
                wrong.push(("time_zone", message));
            }
        }
        let wish = Wish { window: Some(self.window()), ..Wish::default() };
        // Any time will do that is long after 1970.
        if let Err(message) = Range::of(wish, Tz::UTC, 1_000 * DAY_MS, retention_days) {
            wrong.push(("window", message));
        }
        if self.to.is_empty() {
            let message = "empty: name people or receivers that the report goes to".to_owned();
            wrong.push(("to", message));
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_on_a_wall_clock() {
        let weekly = ReportSchedule {
            name: "weekly".to_owned(),
            schedule: "0 8 * * mon".to_owned(),
            time_zone: Some("Europe/Berlin".to_owned()),
            to: vec!["ops".to_owned()],
            ..ReportSchedule::default()
        };
        assert_eq!(weekly.validate(100, false), []);
        let at = |text: &str| text.parse::<Time>().unwrap();
        // Summer ended on 25 October: 08:00 is 06:00 in UTC before, 07:00 after it.
        for (after, until, due) in [
            ("2026-10-18T00:00:00Z", "2026-10-19T06:00:00Z", Some("2026-10-19T06:00:00Z")),
            ("2026-10-19T06:00:00Z", "2026-10-26T06:59:59Z", None),
            ("2026-10-19T06:00:00Z", "2026-10-26T07:00:00Z", Some("2026-10-26T07:00:00Z")),
            // Of several that were missed, the last.
            ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", Some("2026-10-26T07:00:00Z")),
        ] {
            assert_eq!(weekly.due(Tz::UTC, at(after), at(until)), due.map(at), "{after} {until}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = ReportSchedule {
            name: "a b".to_owned(),
            schedule: "often".to_owned(),
            window: "1y".to_owned(),
            ..ReportSchedule::default()
        };
        let fields: Vec<_> =
            wrong.validate(100, false).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["name", "schedule", "window", "to"]);
    }
}
