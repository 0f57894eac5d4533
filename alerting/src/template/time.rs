//! Times and durations in templates: objects with Go's methods, and Go's layouts (`2006-01-02 15:04:05`). Pure.

use chrono::{DateTime, FixedOffset, Offset, TimeDelta, Utc};
use chrono_tz::Tz;
use gotmpl::Value;

use super::{Functions, failed, kind_of, object};

/// The kind of a point in time.
pub(super) const KIND: &str = "time";
/// The kind of a span of time.
pub(super) const DURATION: &str = "duration";

/// A point in time, shown in UTC.
#[must_use]
pub fn from_unix_nanos(nanos: i64) -> Value {
    object(KIND, [("nanos", Value::Int(nanos)), ("offset", Value::Int(0))])
}

/// The nanoseconds since 1970 of a point in time.
#[must_use]
pub fn unix_nanos(value: &Value) -> Option<i64> {
    (kind_of(value) == Some(KIND)).then(|| value.field("nanos")?.as_int())?
}

/// The same point in time, shown in a zone of the IANA's (`Europe/Berlin`).
///
/// # Errors
/// When there is no such zone, or it is no time; in words.
pub fn in_zone(value: &Value, zone: &str) -> Result<Value, String> {
    let nanos = unix_nanos(value).ok_or("a time is expected")?;
    // Go calls the zone of nothing UTC.
    let zone: Tz = if zone.is_empty() {
        Tz::UTC
    } else {
        zone.parse().map_err(|_| format!("unknown time zone {zone}"))?
    };
    let at = DateTime::from_timestamp_nanos(nanos).with_timezone(&zone);
    let offset = i64::from(at.offset().fix().local_minus_utc());
    Ok(object(KIND, [("nanos", Value::Int(nanos)), ("offset", Value::Int(offset))]))
}

/// The span of time from one point to another.
#[must_use]
pub fn between(from_nanos: i64, to_nanos: i64) -> Value {
    object(DURATION, [("nanos", Value::Int(to_nanos.saturating_sub(from_nanos)))])
}

/// The seconds of a span of time.
pub(super) fn duration_seconds(value: &Value) -> Option<f64> {
    let nanos = (kind_of(value) == Some(DURATION)).then(|| value.field("nanos")?.as_int())??;
    #[expect(clippy::cast_precision_loss, reason = "as Go's Duration.Seconds does")]
    Some(nanos as f64 / 1e9)
}

/// A point in time, as it is shown.
#[must_use]
pub fn moment(value: &Value) -> Option<DateTime<FixedOffset>> {
    let nanos = unix_nanos(value)?;
    let offset = value.field("offset")?.as_int()?;
    let zone = FixedOffset::east_opt(i32::try_from(offset).ok()?)?;
    Some(DateTime::from_timestamp_nanos(nanos).with_timezone(&zone))
}

/// As Go prints it.
pub(super) fn show(value: &Value) -> String {
    let Some(at) = moment(value) else { return String::new() };
    format_layout("2006-01-02 15:04:05.999999999 -0700 MST", at)
}

/// A span of time as Go prints it: `1h15m30.5s`, `1.5ms`, `0s`.
pub(super) fn show_duration(value: &Value) -> String {
    let nanos = value.field("nanos").and_then(Value::as_int).unwrap_or(0);
    let (sign, whole) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let decimal = |whole: u64, unit: u64| {
        let digits = unit.ilog10() as usize;
        let text = format!("{}.{:0digits$}", whole / unit, whole % unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match whole {
        0 => "0s".to_owned(),
        1..1_000 => format!("{whole}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(whole, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(whole, 1_000_000)),
        _ => {
            let (minutes, rest) = (whole / 60_000_000_000, whole % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

/// The methods of durations.
fn of_duration(value: &Value, name: &str, args: &[Value]) -> Option<gotmpl::Result<Value>> {
    let seconds = duration_seconds(value)?;
    Some(match (name, args) {
        ("Seconds", []) => Ok(Value::Float(seconds)),
        ("Minutes", []) => Ok(Value::Float(seconds / 60.0)),
        ("Hours", []) => Ok(Value::Float(seconds / 3_600.0)),
        ("Milliseconds", []) => Ok(Value::Int(value.field("nanos")?.as_int()? / 1_000_000)),
        ("String", []) => Ok(Value::String(show_duration(value).into())),
        ("nanos", _) => return None,
        _ => Err(failed(format!("a duration has no method {name} with {} arguments", args.len()))),
    })
}

/// With the methods of times and durations.
pub(super) fn with_times(functions: Functions) -> Functions {
    functions.with_methods(of_duration).with_methods(|value, name, args| {
        let at = moment(value)?;
        Some(match (name, args) {
            ("Format", [Value::String(layout)]) => {
                Ok(Value::String(format_layout(layout, at).into()))
            }
            ("UTC", []) => Ok(from_unix_nanos(unix_nanos(value)?)),
            ("Unix", []) => Ok(Value::Int(at.timestamp())),
            ("UnixMilli", []) => Ok(Value::Int(at.timestamp_millis())),
            ("String", []) => Ok(Value::String(show(value).into())),
            ("IsZero", []) => Ok(Value::Bool(unix_nanos(value)? == 0)),
            ("Sub", [other]) => match unix_nanos(other) {
                Some(other) => Ok(between(other, unix_nanos(value)?)),
                None => Err(failed("Sub: a time is expected")),
            },
            ("nanos" | "offset", _) => return None,
            _ => Err(failed(format!("a time has no method {name} with {} arguments", args.len()))),
        })
    })
}

/// Seconds since 1970 as a point in time, to the millisecond, as Prometheus rounds it.
pub(super) fn from_seconds(seconds: f64) -> Option<Value> {
    #[expect(clippy::cast_possible_truncation, reason = "out of range is caught below")]
    let millis = (seconds * 1000.0).floor() as i64;
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(millis)?;
    Some(from_unix_nanos(at.timestamp_nanos_opt()?))
}

/// A span of time of so many seconds.
pub(super) fn duration(seconds: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    let nanos = (seconds * 1e9) as i64;
    object(
        DURATION,
        [("nanos", Value::Int(TimeDelta::nanoseconds(nanos).num_nanoseconds().unwrap_or(0)))],
    )
}

/// What Go's layouts are made of, longest first, and what chrono calls it.
const PARTS: [(&str, &str); 36] = [
    ("January", "%B"),
    ("Monday", "%A"),
    ("2006", "%Y"),
    ("Z07:00:00", "Z"),
    ("-07:00:00", "%::z"),
    ("-07:00", "%:z"),
    ("Z07:00", "Z"),
    ("-0700", "%z"),
    ("Z0700", "Z"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "zone"),
    ("002", "%j"),
    (".000000000", ".%f"),
    (",000000000", ",%f"),
    (".999999999", "fraction"),
    (".000000", ".%6f"),
    (".000", ".%3f"),
    (",000", ",%3f"),
    (".999999", "fraction6"),
    (".999", "fraction3"),
    ("-07", "hours"),
    ("01", "%m"),
    ("02", "%d"),
    ("_2", "%e"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
];

/// A time by a layout of Go's.
#[must_use]
pub fn format_layout(layout: &str, at: DateTime<FixedOffset>) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((part, code)) = PARTS.iter().find(|(part, _)| rest.starts_with(part)) {
            out.push_str(&piece(code, at));
            rest = &rest[part.len()..];
        } else if let Some(behind) = rest.strip_prefix('5') {
            out.push_str(&at.format("%-S").to_string());
            rest = behind;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn piece(code: &str, at: DateTime<FixedOffset>) -> String {
    let utc = at.offset().local_minus_utc() == 0;
    match code {
        "Z" if utc => "Z".to_owned(),
        "Z" => at.format("%:z").to_string(),
        "zone" if utc => "UTC".to_owned(),
        "zone" | "%z" => at.format("%z").to_string(),
        "hours" => at.format("%z").to_string().chars().take(3).collect(),
        "fraction" => fraction(at, 9),
        "fraction6" => fraction(at, 6),
        "fraction3" => fraction(at, 3),
        _ => at.format(code).to_string(),
    }
}

/// The fraction of a second without zeros at its end.
fn fraction(at: DateTime<FixedOffset>, digits: usize) -> String {
    let nanos = format!(".{:09}", at.timestamp_subsec_nanos());
    let cut = &nanos[..=digits];
    match cut.trim_end_matches('0') {
        "." => String::new(),
        kept => kept.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let at = DateTime::from_timestamp_nanos(1_700_000_000_120_000_000).fixed_offset();
        let east = at.with_timezone(&FixedOffset::east_opt(7200).unwrap());
        for (layout, utc, cest) in [
            ("2006-01-02T15:04:05Z07:00", "2023-11-14T22:13:20Z", "2023-11-15T00:13:20+02:00"),
            (
                "Mon, 02 Jan 06 3:04PM MST",
                "Tue, 14 Nov 23 10:13PM UTC",
                "Wed, 15 Nov 23 12:13AM +0200",
            ),
            (
                "Monday January _2 1/2 -0700",
                "Tuesday November 14 11/14 +0000",
                "Wednesday November 15 11/15 +0200",
            ),
            ("05.000 .999 002", "20.120 .12 318", "20.120 .12 319"),
            ("naïve 2006", "naïve 2023", "naïve 2023"),
        ] {
            assert_eq!(format_layout(layout, at), utc, "{layout}");
            assert_eq!(format_layout(layout, east), cest, "{layout}");
        }
    }
}
