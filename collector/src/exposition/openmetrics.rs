//! OpenMetrics 1.0: one blank wherever there is one, no empty lines, and `# EOF` at the end.

use super::{Line, ParseError, cursor::Cursor, number, sample};

/// The types that there are.
const TYPES: [&str; 8] =
    ["counter", "gauge", "histogram", "gaugehistogram", "stateset", "info", "summary", "unknown"];
/// Characters in names and values of an exemplar's labels, all together (OpenMetrics 1.0 §Exemplars).
const EXEMPLAR_CHARS_MAX: usize = 128;

/// The next line with a value; none after `# EOF`.
pub(super) fn next<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Line<'a>>, ParseError> {
    while cursor.peek() == Some(b'#') {
        if !cursor.eat_word("# ") {
            return Err(cursor.expected("# HELP, # TYPE, # UNIT or # EOF"));
        }
        if cursor.eat_word("EOF") {
            cursor.eat(b'\n');
            return match cursor.peek() {
                None => Ok(None),
                Some(_) => Err(cursor.expected("nothing after # EOF")),
            };
        }
        meta(cursor)?;
        end(cursor)?;
    }
    if cursor.peek().is_none() {
        return Err(cursor.error("the page does not end with # EOF: it may have been cut off"));
    }
    line(cursor).map(Some)
}

fn line<'a>(cursor: &mut Cursor<'a>) -> Result<Line<'a>, ParseError> {
    let mut line = sample::series(cursor, false)?;
    if !cursor.eat(b' ') {
        return Err(cursor.expected(&format!("a blank and a value after {:?}", line.name)));
    }
    line.value = sample::value(cursor, &format!("a value after {:?}", line.name))?;
    if cursor.eat(b' ') {
        if cursor.peek() != Some(b'#') {
            line.timestamp_ms = Some(timestamp(cursor)?);
            if cursor.eat(b' ') {
                exemplar(cursor)?;
            }
        } else {
            exemplar(cursor)?;
        }
    }
    end(cursor)?;
    Ok(line)
}

/// `# {trace_id="a1"} 0.67 1520879607.789`: checked, and not kept.
fn exemplar(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    if !cursor.eat_word("# {") {
        return Err(cursor.expected("an exemplar, # {…} value, or the end of the line"));
    }
    let (mut labels, mut name) = (Vec::new(), None);
    sample::braces(cursor, false, &mut name, &mut labels)?;
    if name.is_some() {
        return Err(cursor.error("an exemplar has labels only, no name"));
    }
    let chars: usize = labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
    if chars > EXEMPLAR_CHARS_MAX {
        return Err(cursor.error(format!(
            "the exemplar's labels have {chars} characters, at most {EXEMPLAR_CHARS_MAX} are allowed"
        )));
    }
    if !cursor.eat(b' ') {
        return Err(cursor.expected("a blank and the exemplar's value"));
    }
    sample::value(cursor, "the exemplar's value")?;
    if cursor.eat(b' ') {
        timestamp(cursor)?;
    }
    Ok(())
}

fn timestamp(cursor: &mut Cursor<'_>) -> Result<i64, ParseError> {
    sample::number(cursor, "a time in seconds", number::seconds)
}

fn meta(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    let words = ["HELP", "TYPE", "UNIT"];
    let Some(word) = words.into_iter().find(|word| cursor.eat_word(word)) else {
        return Err(cursor.expected("HELP, TYPE, UNIT or EOF after #"));
    };
    let blank = cursor.eat(b' ');
    let name = if cursor.peek() == Some(b'"') {
        cursor.string("the metric's name", false)?
    } else {
        cursor.name(true).unwrap_or_default().into()
    };
    if !blank || name.is_empty() || !cursor.eat(b' ') {
        return Err(cursor.expected(&format!("a metric's name and a text after {word}")));
    }
    let here = cursor.clone();
    let Ok(text) = std::str::from_utf8(cursor.line_rest()) else {
        return Err(here.error(format!("the text of {word} is not UTF-8")));
    };
    match word {
        "TYPE" if !TYPES.contains(&text) => Err(here.expected(&TYPES.join(", "))),
        "UNIT" if !text.is_empty() && !name.ends_with(&format!("_{text}")) => {
            Err(here.error(format!("unit {text:?} is not how {name:?} ends")))
        }
        _ => Ok(()),
    }
}

fn end(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    if cursor.eat(b'\n') { Ok(()) } else { Err(cursor.expected("the end of the line")) }
}
