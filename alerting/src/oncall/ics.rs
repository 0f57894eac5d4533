//! Shifts as a calendar (RFC 5545), for the calendar that people have anyway. Pure.

use chrono::TimeDelta;
use icalendar::{Calendar, Component, Event, EventLike};
use watchkeep_catalog::Time;

use crate::incident::digest;

/// How often a calendar should look again: by default some do once a day.
const REFRESH: TimeDelta = TimeDelta::hours(1);

/// One shift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) schedule: String,
    pub(crate) person: String,
    /// A layer's name, or a change's id.
    pub(crate) by: String,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

/// The calendar. A shift keeps its UID as long as it begins at the same time, so that calendars see it change and not
/// vanish; `now` is its time stamp.
pub(crate) fn calendar(name: &str, entries: &[Entry], now: Time) -> String {
    let mut calendar = Calendar::new();
    calendar.name(name).description("On-call shifts, by Watchkeep").ttl(&REFRESH);
    for Entry { schedule, person, by, from, to } in entries {
        let uid = digest(&format!("{schedule}/{}", from.timestamp_micros()));
        let mut event = Event::new();
        event
            .uid(&format!("{}@watchkeep", &uid[..32]))
            .timestamp(now)
            .summary(&format!("{person} is on call ({schedule})"))
            .description(&format!("Schedule {schedule}, by {by}."))
            .starts(*from)
            .ends(*to);
        calendar.push(event.done());
    }
    calendar.done().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::time;

    #[test]
    fn has_what_a_calendar_needs() {
        let entry = Entry {
            schedule: "primary".to_owned(),
            person: "alice".to_owned(),
            by: "rotation".to_owned(),
            from: time(0),
            to: time(3_600),
        };
        let text = calendar("On call: primary", &[entry], time(-60));
        for line in [
            "BEGIN:VCALENDAR",
            "REFRESH-INTERVAL;VALUE=DURATION:PT3600S",
            "DTSTART:20260105T090000Z",
            "DTEND:20260105T100000Z",
            "DTSTAMP:20260105T085900Z",
            "SUMMARY:alice is on call (primary)",
            "END:VCALENDAR",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
        }
    }
}
