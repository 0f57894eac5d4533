//! Alerts that come in: what is wrong with one, what it becomes, and how it goes with what is known. Pure.

use chrono::Datelike;
use watchkeep_catalog::{Alert, AlertSource, LabelSet, Time};

use super::{config::Span, intake::size};

/// Texts of one alert. Others go into the registry with it, which refuses what is too much at once.
const ALERT_BYTES_MAX: usize = 128 * 1024;
/// Years that RFC 3339 can write. With others no time can be reckoned.
const YEARS: std::ops::RangeInclusive<i32> = 0..=9_999;

/// An alert as it was posted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Posted {
    pub(crate) labels: LabelSet,
    pub(crate) annotations: LabelSet,
    pub(crate) starts_at: Option<Time>,
    pub(crate) ends_at: Option<Time>,
    pub(crate) generator_url: String,
}

/// Judges it and fills in what was not said: it begins now, and ends `resolve_timeout` later if nobody says more.
///
/// # Errors
/// What is wrong, in Alertmanager's words.
pub(crate) fn accept(posted: Posted, resolve_timeout: Span, now: Time) -> Result<Alert, String> {
    let mut labels = posted.labels;
    // An empty label is none.
    labels.retain(|_, value| !value.is_empty());
    for (name, at) in [("startsAt", posted.starts_at), ("endsAt", posted.ends_at)] {
        if at.is_some_and(|at| !YEARS.contains(&at.year())) {
            return Err(format!("{name}: its year has more than four digits"));
        }
    }
    let timeout = posted.ends_at.is_none();
    let ends_at = posted.ends_at.unwrap_or(now + resolve_timeout.delta());
    let starts_at = posted.starts_at.or(posted.ends_at).unwrap_or(now);
    if ends_at < starts_at {
        return Err("start time must be before end time".to_owned());
    }
    if labels.is_empty() {
        return Err("at least one label pair required".to_owned());
    }
    for name in labels.keys().chain(posted.annotations.keys()) {
        if name.is_empty() {
            return Err("invalid label set: invalid name \"\"".to_owned());
        }
    }
    let alert = Alert {
        labels,
        annotations: posted.annotations,
        starts_at,
        ends_at: Some(ends_at),
        updated_at: now,
        timeout,
        generator_url: posted.generator_url,
        source: AlertSource::Api,
    };
    let size = size(&alert);
    if size > ALERT_BYTES_MAX {
        return Err(format!(
            "its labels and annotations have {size} bytes: give at most {ALERT_BYTES_MAX}"
        ));
    }
    Ok(alert)
}

/// The newer alert, with what still holds of the one that is known: when they overlap, it began with the earlier one, and
/// an end that a sender said is not shortened by a mere time-out.
pub(crate) fn merge(known: &Alert, newer: Alert, now: Time) -> Alert {
    let (Some(known_end), Some(newer_end)) = (known.ends_at, newer.ends_at) else { return newer };
    let overlap = (newer_end > known.starts_at && newer_end < known_end)
        || (newer.starts_at > known.starts_at && newer.starts_at < known_end);
    if !overlap {
        return newer;
    }
    let mut merged = newer;
    merged.starts_at = merged.starts_at.min(known.starts_at);
    let later = known_end > newer_end;
    let keeps = match merged.is_resolved(now) {
        true => known.is_resolved(now) && later,
        false => later && !known.timeout,
    };
    if keeps {
        merged.ends_at = Some(known_end);
    }
    merged
}

/// Whether there is anything in it that is not known: a sender says the same again and again.
pub(crate) fn is_news(known: &Alert, newer: &Alert) -> bool {
    let same = (&known.labels, &known.annotations, known.starts_at, known.ends_at)
        == (&newer.labels, &newer.annotations, newer.starts_at, newer.ends_at);
    !(same && known.generator_url == newer.generator_url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{alertmanager::fixtures::alert, fixtures::time};

    #[test]
    fn what_is_not_said_is_filled_in() {
        let labels =
            LabelSet::from([("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())]);
        let posted = Posted { labels, ..Posted::default() };
        let alert = accept(posted.clone(), Span::seconds(300), time(0)).unwrap();
        assert_eq!(alert.labels.len(), 1);
        assert_eq!((alert.starts_at, alert.ends_at), (time(0), Some(time(300))));
        assert!(alert.timeout);
        let over = Posted { ends_at: Some(time(-10)), ..posted.clone() };
        let alert = accept(over, Span::seconds(300), time(0)).unwrap();
        assert_eq!((alert.starts_at, alert.timeout), (time(-10), false));
        let backwards = Posted { starts_at: Some(time(5)), ends_at: Some(time(1)), ..posted };
        let error = accept(backwards, Span::seconds(300), time(0)).unwrap_err();
        assert_eq!(error, "start time must be before end time");
        assert!(accept(Posted::default(), Span::seconds(300), time(0)).is_err());
    }

    #[test]
    fn no_time_is_beyond_reckoning() {
        let posted = |starts_at: Option<&str>, ends_at: Option<&str>| Posted {
            labels: LabelSet::from([("a".to_owned(), "b".to_owned())]),
            starts_at: starts_at.map(|at| at.parse().unwrap()),
            ends_at: ends_at.map(|at| at.parse().unwrap()),
            ..Posted::default()
        };
        let far = "+262142-12-31T23:59:59Z";
        for (wrong, part) in [
            (posted(Some(far), Some(far)), "startsAt"),
            (posted(Some("-262143-01-01T00:00:00Z"), None), "startsAt"),
            (posted(None, Some(far)), "endsAt"),
        ] {
            let error = accept(wrong, Span::seconds(300), time(0)).unwrap_err();
            assert!(error.starts_with(part), "{error}");
        }
        let last = posted(None, Some("9999-12-31T23:59:59Z"));
        assert!(accept(last, Span::seconds(300), time(0)).is_ok());
    }

    #[test]
    fn an_alert_has_a_size() {
        let with = |bytes: usize| Posted {
            labels: LabelSet::from([("a".to_owned(), "b".to_owned())]),
            annotations: LabelSet::from([("c".to_owned(), "x".repeat(bytes))]),
            ..Posted::default()
        };
        assert!(accept(with(ALERT_BYTES_MAX - 3), Span::seconds(300), time(0)).is_ok());
        let error = accept(with(ALERT_BYTES_MAX - 2), Span::seconds(300), time(0)).unwrap_err();
        assert!(error.contains("131073 bytes"), "{error}");
    }

    #[test]
    fn overlapping_alerts_become_one() {
        let at = |starts, ends| alert(&[("a", "b")], starts, Some(ends));
        let timed_out = |starts, ends| Alert { timeout: true, ..at(starts, ends) };
        for (known, newer, now, expected) in [
            (at(0, 100), at(50, 150), 50, (0, 150)),
            (at(0, 100), at(50, 80), 50, (0, 100)),
            (timed_out(0, 100), at(50, 80), 50, (0, 80)),
            (at(0, 100), at(50, 60), 60, (0, 60)),
            (at(0, 55), at(50, 52), 60, (0, 55)),
            (at(0, 40), at(50, 150), 50, (50, 150)),
        ] {
            let merged = merge(&known, newer, time(now));
            let found = (merged.starts_at, merged.ends_at);
            assert_eq!(found, (time(expected.0), Some(time(expected.1))));
        }
    }
}
