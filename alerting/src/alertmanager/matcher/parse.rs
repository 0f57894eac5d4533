//! Text to matchers.

use super::{Matcher, Op, is_plain_name};

/// Reads one or more matchers: `a="b"`, `{a=~"b|c", d!=e}`.
///
/// # Errors
/// What is wrong, in words that quote the text.
pub(crate) fn parse_all(text: &str) -> Result<Vec<Matcher>, String> {
    let inner = strip_braces(text)?;
    match split(inner).and_then(|parts| parts.into_iter().map(classic).collect()) {
        Ok(matchers) => Ok(matchers),
        Err(first) => modern(inner).map_err(|_| first),
    }
}

/// Reads exactly one.
///
/// # Errors
/// As [`parse_all`], and when there are none or several.
pub(crate) fn parse(text: &str) -> Result<Matcher, String> {
    let mut matchers = parse_all(text)?;
    match (matchers.pop(), matchers.is_empty()) {
        (Some(matcher), true) => Ok(matcher),
        _ => Err(format!("{text:?} is not one matcher: write name=\"value\"")),
    }
}

fn strip_braces(text: &str) -> Result<&str, String> {
    let text = text.trim();
    match (text.strip_prefix('{'), text.ends_with('}')) {
        (None, false) => Ok(text),
        (Some(inner), true) => Ok(inner.strip_suffix('}').unwrap_or(inner)),
        // A value may end in a brace; it is judged below.
        (None, true) if text.contains('=') => Ok(text),
        _ => Err(format!("{text:?}: braces come in pairs: {{a=\"b\"}}")),
    }
}

/// At commas outside of quotes; one at the end is allowed.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut begin, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if quoted {
        return Err(format!("{text:?}: a quote is not closed"));
    }
    if !text[begin..].trim().is_empty() {
        parts.push(&text[begin..]);
    }
    Ok(parts)
}

/// Where the operator stands, and which it is.
fn operator(text: &str) -> Option<(usize, Op)> {
    let at = text.find(['=', '!'])?;
    let op = match text.get(at..at + 2) {
        Some("=~") => Op::Matches,
        Some("!=") => Op::NotEqual,
        Some("!~") => Op::NotMatches,
        _ if text[at..].starts_with('=') => Op::Equal,
        _ => return None,
    };
    Some((at, op))
}

/// `name op value`, the value quoted or not.
fn classic(text: &str) -> Result<Matcher, String> {
    let wrong = |why: &str| format!("{text:?} is not a matcher: {why}; write name=\"value\"");
    let (at, op) = operator(text).ok_or_else(|| wrong("there is no =, !=, =~ or !~"))?;
    let name = text[..at].trim();
    if !is_plain_name(name) {
        return Err(wrong("the name is not a label's name"));
    }
    let raw = text[at + op.as_str().len()..].trim();
    let value = match raw.strip_prefix('"') {
        Some(rest) => {
            let inner = rest.strip_suffix('"').filter(|inner| !ends_escaped(inner));
            inner.ok_or_else(|| wrong("a quote is not closed"))?
        }
        None => raw,
    };
    Matcher::new(name, op, &unescape(value).ok_or_else(|| wrong("a quote stands inside"))?)
        .map_err(|why| format!("{text:?}: {why}"))
}

fn ends_escaped(text: &str) -> bool {
    text.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// `\n`, `\"` and `\\`; another backslash stays. None when a quote stands in it unescaped.
fn unescape(text: &str) -> Option<String> {
    let (mut value, mut escaped) = (String::with_capacity(text.len()), false);
    for c in text.chars() {
        if std::mem::take(&mut escaped) {
            match c {
                'n' => value.push('\n'),
                '"' | '\\' => value.push(c),
                c => value.extend(['\\', c]),
            }
        } else {
            match c {
                '\\' => escaped = true,
                '"' => return None,
                c => value.push(c),
            }
        }
    }
    if escaped {
        value.push('\\');
    }
    Some(value)
}

/// The form in which names are any text: `"quoted name"="value"`, `unquoted❤=value`.
fn modern(text: &str) -> Result<Vec<Matcher>, String> {
    let mut rest = text.trim_start();
    let mut matchers = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = word(rest)?;
        let (at, op) = operator(behind).filter(|(at, _)| *at == 0).ok_or("no operator")?;
        let (value, behind) = word(behind[at + op.as_str().len()..].trim_start())?;
        if name.is_empty() {
            return Err("no name".to_owned());
        }
        matchers.push(Matcher::new(&name, op, &value)?);
        rest = match behind.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if behind.is_empty() => behind,
            None => return Err("no comma".to_owned()),
        };
    }
    Ok(matchers)
}

/// A quoted or an unquoted word, and what stands behind it.
fn word(text: &str) -> Result<(String, &str), String> {
    if let Some(inner) = text.strip_prefix('"') {
        let mut escaped = false;
        for (at, c) in inner.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    let value = unescape(&inner[..at]).ok_or("a quote stands inside")?;
                    return Ok((value, inner[at + 1..].trim_start()));
                }
                _ => {}
            }
        }
        return Err("a quote is not closed".to_owned());
    }
    let reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
    let end = text.find(reserved).unwrap_or(text.len());
    if end == 0 {
        return Err("a word is missing".to_owned());
    }
    Ok((text[..end].to_owned(), text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alertmanager::matcher::show;

    #[test]
    fn both_forms() {
        for (text, shown) in [
            ("a=b", "{a=\"b\"}"),
            (" { a = \"b\" , c=~\"d|e\", } ", "{a=\"b\",c=~\"d|e\"}"),
            ("a=", "{a=\"\"}"),
            ("a!=\"b,c\"", "{a!=\"b,c\"}"),
            ("a=\"x\\\"y\\\\z\\n\"", "{a=\"x\\\"y\\\\z\\n\"}"),
            ("a=~\"\\d+\"", "{a=~\"\\\\d+\"}"),
            ("a=b=c", "{a=\"b=c\"}"),
            ("a=b c", "{a=\"b c\"}"),
            ("\"a b\"=c", "{\"a b\"=\"c\"}"),
            ("ä=\"ö\"", "{\"ä\"=\"ö\"}"),
            ("a.b=~\"c\",d=e", "{\"a.b\"=~\"c\",d=\"e\"}"),
            ("", "{}"),
            ("{}", "{}"),
        ] {
            assert_eq!(parse_all(text).map(|m| show(&m)), Ok(shown.to_owned()), "{text}");
        }
        for text in ["a", "{a=b", "a=\"b", "a=b\"", "=b", "a b=c", "a=~\"(\"", "a~b", "\"\"=b"] {
            assert!(parse_all(text).is_err(), "{text}");
        }
        assert!(parse("a=b,c=d").is_err() && parse("").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_the_same(name in "[a-z ä.]{1,4}", value in "[a-c\"\\\\,={} \n]{0,6}") {
            let matcher = Matcher::new(&name, Op::NotEqual, &value).unwrap();
            prop_assert_eq!(parse(&matcher.to_string()), Ok(matcher));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[a-c\"\\\\,={}!~ ä]{0,12}") {
            let _ = parse_all(&text);
        }
    }
}
