//! From YAML text to a value, with every misfit named by file, line and path.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::{Error, UserMessageFormatter};

use super::{
    index::{Entry, Index},
    problem::{Place, Problem},
};

/// Misfits reported at once.
const PROBLEMS_MAX: usize = 20;

/// Which words are booleans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Our own file: `yes` and `on` are words.
    Yaml12,
    /// A file made for a program written in Go: `yes` and `on` are true where a boolean is expected.
    Yaml11,
}

/// Reads `text` as a `T`; `file` is its name in messages.
///
/// # Errors
/// Text that is not YAML gives one problem. A document that does not fit gives one for each misfit: after
/// each the value is taken out and the rest read again.
pub(crate) fn parse_as<T: DeserializeOwned>(
    dialect: Dialect,
    file: &str,
    text: &str,
) -> Result<(T, Index), Vec<Problem>> {
    fit(dialect, file, text).map_err(|misfits| misfits.problems)
}

/// What does not fit, and what is left without it.
pub(super) struct Misfits<T> {
    pub(super) problems: Vec<Problem>,
    /// The document without them, and its lines; none where there is no reading it.
    pub(super) rest: Option<(T, Index)>,
}

/// Reads `text` as a `T`, or as much of it as fits.
///
/// # Errors
/// As [`parse_as`].
pub(super) fn fit<T: DeserializeOwned>(
    dialect: Dialect,
    file: &str,
    text: &str,
) -> Result<(T, Index), Misfits<T>> {
    let refuse = |error: &Error| {
        let mut problem = problem(file, error, None, error_line(error));
        problem.message.insert_str(0, "this is not valid YAML: ");
        Misfits { problems: vec![problem], rest: None }
    };
    let original = Index::new(text).map_err(|e| refuse(&e))?;
    let first = match read::<T>(dialect, text) {
        Ok(value) => return Ok((value, original)),
        Err(error) => error,
    };
    let mut rest: Value = read(Dialect::Yaml12, text).map_err(|e| refuse(&e))?;
    let mut problems = Vec::new();
    let mut fits = None;
    let mut failure = Some((first, Index::new(text).map_err(|e| refuse(&e))?));
    while let Some((error, index)) = failure.take() {
        let entry = error.location().and_then(|l| index.at(l.line(), l.column()));
        let line = entry.and_then(|e| original.line(&e.path)).or_else(|| error_line(&error));
        problems.push(problem(file, &error, entry, line));
        let Some(entry) = entry.filter(|_| problems.len() < PROBLEMS_MAX) else { break };
        if !take_out(&mut rest, &entry.path) {
            break;
        }
        let Ok(text) = serde_saphyr::to_string(&rest) else { break };
        match (read::<T>(dialect, &text), Index::new(&text)) {
            (Ok(value), _) => fits = Some(value),
            (Err(error), Ok(index)) => failure = Some((error, index)),
            (Err(_), Err(_)) => {}
        }
    }
    problems.sort();
    Err(Misfits { problems, rest: fits.map(|value| (value, original)) })
}

pub(super) fn read<T: DeserializeOwned>(dialect: Dialect, text: &str) -> Result<T, Error> {
    let strict = dialect == Dialect::Yaml12;
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { strict_booleans: strict })
}

/// Removes a field; for a list element the whole list, since the others would get new numbers.
fn take_out(value: &mut Value, path: &str) -> bool {
    let path = path.split('[').next().unwrap_or_default();
    let (parent, field) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = value;
    for step in parent.split('.').filter(|s| !s.is_empty()) {
        match at.get_mut(step) {
            Some(next) => at = next,
            None => return false,
        }
    }
    at.as_object_mut().is_some_and(|o| o.remove(field).is_some())
}

fn error_line(error: &Error) -> Option<u64> {
    error.location().map(|l| l.line())
}

fn problem(file: &str, error: &Error, entry: Option<&Entry>, line: Option<u64>) -> Problem {
    let full = error.without_snippet().render_with_formatter(&UserMessageFormatter);
    let text = full.rsplit_once(" at line ").map_or(full.as_str(), |(text, _)| text);
    let place = match line {
        Some(line) => Place::Line(file.to_owned(), line),
        None => Place::File(file.to_owned()),
    };
    let unknown = text.strip_prefix("unknown field `").is_some();
    let path = entry.map_or("", |e| e.path.as_str());
    // An unknown field is named by the message; its parent is the place.
    let path = if unknown { path.rsplit_once('.').map_or("", |(p, _)| p) } else { path };
    Problem { place, path: path.to_owned(), message: explain(text, entry) }
}

/// The parser's words, in the user's terms.
fn explain(text: &str, entry: Option<&Entry>) -> String {
    let given = entry.and_then(|e| e.text.as_deref());
    let number = |what: &str| match given {
        Some(given) => format!("{given:?} is not {what}"),
        None => format!("give {what}"),
    };
    match text {
        "invalid u64" | "invalid u32" | "invalid usize" => number("a whole number of 0 or more"),
        "invalid i64" | "invalid i32" => number("a whole number"),
        "invalid u16" => number("a whole number of 0 to 65535"),
        "invalid u8" => number("a whole number of 0 to 255"),
        "invalid f64" => number("a number"),
        "invalid bool" | "invalid boolean" | "invalid boolean (true or false expected)" => {
            number("true or false")
        }
        // As chrono says it, which knows neither what was given nor what is right.
        "input contains invalid characters"
        | "input is out of range"
        | "input is not enough for unique date and time"
        | "premature end of input"
        | "trailing input" => number(
            "a day, or a time where one is expected; write it as 2026-01-05, or 2026-01-05T09:00:00Z",
        ),
        "invalid socket address syntax" => {
            number("an address; write it as ip:port, like 127.0.0.1:2379")
        }
        "expected mapping start" => match given {
            Some("") => "is empty: give its fields, or remove the line".to_owned(),
            _ => "fields are expected here: write `name: value` lines".to_owned(),
        },
        "expected sequence start" => "a list is expected here: write [a, b]".to_owned(),
        _ => match text.split_once("`, expected one of ") {
            Some((what, known)) => format!("{what}`; known: {known}"),
            None => text.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Document {
        node: Node,
        nodes: Vec<Node>,
        peers: BTreeMap<u64, String>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Node {
        id: u64,
        listen: Option<std::net::SocketAddr>,
        is_on: bool,
        start: Option<chrono::NaiveDate>,
    }

    #[test]
    fn every_misfit_is_named() {
        for (text, expected) in [
            ("node: {id: one}", vec!["f:1: node.id: \"one\" is not a whole number of 0 or more"]),
            (
                "node:\n  idd: 1\n",
                vec!["f:2: node: unknown field `idd`; known: id, listen, is_on, start"],
            ),
            (
                "node:\n  is_on: maybe\n  start: y\n",
                vec![
                    "f:2: node.is_on: \"maybe\" is not true or false",
                    "f:3: node.start: \"y\" is not a day, or a time where one is expected; write it as 2026-01-05, or \
                     2026-01-05T09:00:00Z",
                ],
            ),
            ("nod: 1\n", vec!["f:1: unknown field `nod`; known: node, nodes, peers"]),
            (
                "node:\n  id: x\n  listen: y\npeers: 3\n",
                vec![
                    "f:2: node.id: \"x\" is not a whole number of 0 or more",
                    "f:3: node.listen: \"y\" is not an address; write it as ip:port, like 127.0.0.1:2379",
                    "f:4: peers: fields are expected here: write `name: value` lines",
                ],
            ),
            ("node:\n", vec!["f:1: node: is empty: give its fields, or remove the line"]),
            (
                "nodes:\n  - id: 1\n  - id: y\n",
                vec!["f:3: nodes[1].id: \"y\" is not a whole number of 0 or more"],
            ),
            (
                "node: [1\nnodes: 3",
                vec!["f:2: this is not valid YAML: illegal placement of ':' indicator"],
            ),
        ] {
            let problems = parse_as::<Document>(Dialect::Yaml12, "f", text).expect_err(text);
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(lines, expected, "{text}");
        }
    }
}
