//! JSON that others wrote: what is wrong with it is told by where it stands, what stands there, and what would be right.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Error, Value};

/// Longest value that is repeated in an error, in bytes.
const SHOWN_MAX: usize = 100;

/// Reads a text.
///
/// # Errors
/// `checks[0].interval_ms: invalid type: string "5s", expected a whole number, 0 or more`.
pub fn read_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| wrong(text, &error))
}

/// Reads what is JSON already.
///
/// # Errors
/// As [`read_json`].
pub fn read_value<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    <T as Deserialize>::deserialize(value).or_else(|_| read_json(value.to_string().as_bytes()))
}

fn wrong(text: &[u8], error: &Error) -> String {
    let said = error.to_string();
    if !error.is_data() {
        return said;
    }
    let position = format!(" at line {} column {}", error.line(), error.column());
    let said = said.strip_suffix(&position).unwrap_or(&said);
    let read = &text[..offset(text, error.line(), error.column())];
    let (place, value) = place(read);
    let kinds = ["invalid ", "unknown ", "missing ", "duplicate "];
    let is_serdes = kinds.iter().any(|kind| said.starts_with(kind));
    let said = in_words(said);
    match (place.as_str(), value) {
        ("", _) => said,
        // Others say what is wrong, but not with what.
        (place, Some(value)) if !is_serdes && (value.len() <= 2 || !said.contains(value)) => {
            format!("{place} is {value}: {said}")
        }
        (place, _) => format!("{place}: {said}"),
    }
}

/// What chrono says of a text that is no time: nothing of how one is written.
const NO_TIME: [&str; 4] = [
    "premature end of input",
    "input contains invalid characters",
    "input is out of range",
    "trailing input",
];

/// Rust's names of numbers mean nothing to who wrote JSON.
fn in_words(said: &str) -> String {
    if NO_TIME.contains(&said) {
        return "this is no time: write it as 2026-01-05T09:00:00Z".to_owned();
    }
    let names = [
        ("u8", "a whole number from 0 to 255"),
        ("u16", "a whole number from 0 to 65535"),
        ("u32", "a whole number from 0 to 4294967295"),
        ("u64", "a whole number, 0 or more"),
        ("usize", "a whole number, 0 or more"),
        ("i32", "a whole number"),
        ("i64", "a whole number"),
        ("f64", "a number"),
    ];
    match said.rsplit_once("expected ") {
        Some((before, last)) => match names.iter().find(|(name, _)| *name == last) {
            Some((_, words)) => format!("{before}expected {words}"),
            None => said.to_owned(),
        },
        None => said.to_owned(),
    }
}

/// How many bytes were read up to there.
fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let before: usize = lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (before + column).min(text.len())
}

/// An object or an array that is not over.
enum Open {
    Object { key: String, is_key_next: bool },
    Array { index: usize },
}

/// Where in the document its reader stopped, such as `checks[0].interval_ms`, and the value that stands there, if it was
/// read and is short.
fn place(read: &[u8]) -> (String, Option<&str>) {
    let mut open: Vec<Open> = Vec::new();
    let (mut at, mut value_from) = (0, 0);
    while let Some(byte) = read.get(at) {
        let from = at;
        at += 1;
        match byte {
            b'"' => {
                while let Some(byte) = read.get(at) {
                    at += if *byte == b'\\' { 2 } else { 1 };
                    if *byte == b'"' {
                        break;
                    }
                }
                if let Some(Open::Object { key, is_key_next: true }) = open.last_mut() {
                    let text = read.get(from..at).unwrap_or_default();
                    *key = serde_json::from_slice(text).unwrap_or_default();
                }
            }
            b'{' => open.push(Open::Object { key: String::new(), is_key_next: true }),
            b'[' => {
                open.push(Open::Array { index: 0 });
                value_from = at;
            }
            b'}' | b']' => {
                open.pop();
            }
            b':' => {
                if let Some(Open::Object { is_key_next, .. }) = open.last_mut() {
                    *is_key_next = false;
                }
                value_from = at;
            }
            b',' => {
                match open.last_mut() {
                    Some(Open::Object { key, is_key_next }) => {
                        (*key, *is_key_next) = (String::new(), true);
                    }
                    Some(Open::Array { index }) => *index += 1,
                    None => {}
                }
                value_from = at;
            }
            _ => {}
        }
    }
    let mut place = String::new();
    for part in &open {
        match part {
            Open::Object { key, .. } if key.is_empty() => {}
            Open::Object { key, .. } if place.is_empty() => place.push_str(key),
            Open::Object { key, .. } => place.push_str(&format!(".{key}")),
            Open::Array { index } => place.push_str(&format!("[{index}]")),
        }
    }
    let is_key = matches!(open.last(), Some(Open::Object { is_key_next: true, .. }));
    let value = read.get(value_from..).and_then(|value| std::str::from_utf8(value).ok());
    let value = value.map(str::trim).filter(|value| {
        let is_whole = !value.is_empty() && !value.starts_with(['{', '[']);
        is_whole && !is_key && value.len() <= SHOWN_MAX
    });
    (place, value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Instance, Maintenance, Time};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is asked")]
    struct When {
        at: Time,
        list: Option<Vec<u8>>,
        share: Option<f64>,
    }

    fn said<T: DeserializeOwned + std::fmt::Debug>(text: &str) -> String {
        read_json::<T>(text.as_bytes()).expect_err(text)
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let check = |rest: &str| {
            format!(
                "{{\"id\": \"a\", \"address\": \"h\",\n \"port\": 1, \"checks\": [{{\"name\": \"one\"}}, {{{rest}}}]}}"
            )
        };
        for (text, words) in [
            (
                check("\"name\": \"c\", \"interval_ms\": \"5s\""),
                "checks[1].interval_ms: invalid type: string \"5s\", expected a whole number, 0 or more",
            ),
            (check("\"interval_ms\": 5"), "checks[1]: missing field `name`"),
            (check("\"name\": 7"), "checks[1].name: invalid type: integer `7`, expected a string"),
            (
                check("\"name\": \"c\", \"http\": {\"port\": 80000}"),
                "checks[1].http.port: invalid value: integer `80000`, expected a whole number from 0 to 65535",
            ),
            ("{\"id\": \"a\", \"address\": \"h\"}".to_owned(), "missing field `port`"),
        ] {
            assert_eq!(said::<Instance>(&text), words, "{text}");
        }
        let unknown = said::<Instance>(&check("\"name\": \"c\", \"in,terval\": [1]"));
        assert!(unknown.starts_with("checks[1].in,terval: unknown field `in,terval`"), "{unknown}");
        assert!(said::<Instance>("{\"id\":\n x}").contains("line 2 column 2"));
        let window = said::<Maintenance>("{\"scope\": {\"service\": \"w\"}, \"from\": \"soon\"}");
        assert_eq!(window, "from is \"soon\": this is no time: write it as 2026-01-05T09:00:00Z");
        let window =
            said::<Maintenance>("{\"scope\": {\"service\": \"w\"}, \"to\": \"2026-12-01\"}");
        assert_eq!(
            window,
            "to is \"2026-12-01\": this is no time: write it as 2026-01-05T09:00:00Z"
        );
        for (text, words) in [
            (json!({"at": "2026-01-05T09:00:00Z", "list": [1, 256]}), "list[1]: invalid value: "),
            (json!({"at": "2026-01-05T09:00:00Z", "share": "all"}), "share: invalid type: "),
        ] {
            let said = read_value::<When>(&text).expect_err("wrong");
            assert!(said.starts_with(words), "{said}");
        }
        assert!(said::<When>("{\"at\": \"\"}").starts_with("at is \"\": "));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[\\[\\]{}:,\"\\\\a1 \n]{0,60}") {
            let _ = read_json::<When>(text.as_bytes());
            for end in 0..=text.len() {
                let _ = place(&text.as_bytes()[..end]);
            }
        }
    }
}
