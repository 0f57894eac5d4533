//! A metric's name and labels, which both formats write alike.

use std::borrow::Cow;

use super::{Line, ParseError, cursor::Cursor, number};

type Label<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Reads `name`, `name{…}` or `{"name",…}`. In the text format blanks may stand between any two parts, and line
/// breaks within a value.
pub(super) fn series<'a>(cursor: &mut Cursor<'a>, lenient: bool) -> Result<Line<'a>, ParseError> {
    let begin = cursor.clone();
    let mut name = cursor.name(true).map(Cow::Borrowed);
    if name.is_none() && cursor.peek() != Some(b'{') {
        return Err(cursor.expected("a metric's name"));
    }
    if lenient && name.is_some() {
        let mut ahead = cursor.clone();
        ahead.blanks();
        if ahead.peek() == Some(b'{') {
            *cursor = ahead;
        }
    }
    let mut labels = Vec::new();
    if cursor.eat(b'{') {
        braces(cursor, lenient, &mut name, &mut labels)?;
    }
    match name.filter(|name| !name.is_empty()) {
        Some(name) => {
            let raw = begin.until(cursor);
            Ok(Line { raw, name, labels, value: 0.0, timestamp_ms: None })
        }
        None => Err(cursor.error("a series has no name")),
    }
}

/// What stands between `{` and `}`, the latter included.
pub(super) fn braces<'a>(
    cursor: &mut Cursor<'a>,
    lenient: bool,
    name: &mut Option<Cow<'a, str>>,
    labels: &mut Vec<Label<'a>>,
) -> Result<(), ParseError> {
    let blanks = |cursor: &mut Cursor<'a>| lenient && cursor.blanks() > 0;
    loop {
        blanks(cursor);
        if cursor.eat(b'}') {
            return Ok(());
        }
        let quoted = cursor.peek() == Some(b'"');
        let label = if quoted {
            cursor.string("a name", false)?
        } else {
            let label = cursor.name(false).ok_or_else(|| cursor.expected("a label's name or }"))?;
            Cow::Borrowed(label)
        };
        blanks(cursor);
        if cursor.eat(b'=') {
            blanks(cursor);
            let value = cursor.string("the label's value", lenient)?;
            if label.is_empty() {
                return Err(cursor.error("a label's name is empty"));
            }
            if labels.iter().any(|(known, _)| *known == label) {
                return Err(cursor.error(format!("label {label:?} stands there twice")));
            }
            labels.push((label, value));
        } else if quoted && name.is_none() {
            *name = Some(label);
        } else if quoted {
            return Err(cursor.error(format!("{label:?} is a second name of the metric")));
        } else {
            return Err(cursor.expected(&format!("= after label {label:?}")));
        }
        blanks(cursor);
        if !cursor.eat(b',') && cursor.peek() != Some(b'}') {
            return Err(cursor.expected("a comma or }"));
        }
    }
}

/// A number up to the next blank or line break.
pub(super) fn value(cursor: &mut Cursor<'_>, what: &str) -> Result<f64, ParseError> {
    number(cursor, what, number::float)
}

/// What `read` makes of everything up to the next blank or line break.
pub(super) fn number<T>(
    cursor: &mut Cursor<'_>,
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, ParseError> {
    let here = cursor.clone();
    let text = cursor.take_while(|b| !matches!(b, b' ' | b'\t' | b'\n'));
    std::str::from_utf8(text).ok().and_then(read).ok_or_else(|| here.expected(what))
}
