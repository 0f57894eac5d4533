//! Prometheus text 0.0.4.

use super::{Line, ParseError, cursor::Cursor, sample};

/// The next line with a value; none at the end of the page.
pub(super) fn next<'a>(cursor: &mut Cursor<'a>) -> Result<Option<Line<'a>>, ParseError> {
    loop {
        cursor.take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
        match cursor.peek() {
            None => return Ok(None),
            Some(b'#') => comment(cursor)?,
            Some(_) => return line(cursor).map(Some),
        }
    }
}

fn line<'a>(cursor: &mut Cursor<'a>) -> Result<Line<'a>, ParseError> {
    let mut line = sample::series(cursor, true)?;
    let after = format!("a value after {:?}", line.name);
    cursor.blanks();
    line.value = sample::value(cursor, &after)?;
    cursor.blanks();
    if !matches!(cursor.peek(), None | Some(b'\n' | b'\r')) {
        let ms = |text: &str| text.parse::<i64>().ok();
        line.timestamp_ms = Some(sample::number(cursor, "a time in milliseconds", ms)?);
        cursor.blanks();
    }
    match cursor.peek() {
        None | Some(b'\n' | b'\r') => Ok(line),
        Some(_) => Err(cursor.expected("the end of the line")),
    }
}

/// `# HELP name text`, `# TYPE name type`, or anything else, which means nothing.
fn comment(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    cursor.bump();
    if cursor.blanks() > 0 {
        for word in ["HELP", "TYPE"] {
            let mut ahead = cursor.clone();
            if ahead.eat_word(word) && ahead.blanks() > 0 {
                meta(&mut ahead, word)?;
                *cursor = ahead;
                return Ok(());
            }
        }
    }
    cursor.line_rest();
    Ok(())
}

fn meta(cursor: &mut Cursor<'_>, word: &str) -> Result<(), ParseError> {
    if cursor.peek() == Some(b'"') {
        cursor.string("the metric's name", false)?;
    } else if cursor.name(true).is_none() {
        return Err(cursor.expected(&format!("a metric's name after {word}")));
    }
    cursor.blanks();
    let here = cursor.clone();
    let Ok(text) = std::str::from_utf8(cursor.line_rest()) else {
        return Err(here.error(format!("the text of {word} is not UTF-8")));
    };
    let types = ["counter", "gauge", "histogram", "summary", "untyped", "unknown"];
    if word == "TYPE" && !types.contains(&text.trim_end()) {
        return Err(here.expected("counter, gauge, histogram, summary or untyped"));
    }
    Ok(())
}
