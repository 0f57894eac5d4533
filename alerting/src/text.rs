//! How instants and long texts are written for people.

use chrono::SecondsFormat;
use watchkeep_catalog::Time;

/// RFC 3339 with milliseconds: `2026-01-05T09:00:00.000Z`.
pub(crate) fn instant(at: Time) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// For people, to the second: `2026-01-05 09:00:00 UTC`.
pub(crate) fn clock(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The first `max` characters, in one line; `…` stands for what is left out.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A URL without what is asked of it: tokens stand there, and whoever reads a journal or a log need not know them.
pub(crate) fn address(url: &str) -> String {
    match url.find(['?', '#']) {
        Some(end) => format!("{}?…", &url[..end]),
        None => url.to_owned(),
    }
}

/// As text in HTML, between tags and in attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_a_url_is_not_shown() {
        assert_eq!(address("http://h:1/a"), "http://h:1/a");
        assert_eq!(address("http://h/a?token=x#y"), "http://h/a?…");
    }

    #[test]
    fn shortens() {
        for (text, max, short) in
            [("short", 5, "short"), ("a\n b", 9, "a b"), ("größer", 3, "grö…"), ("", 1, "")]
        {
            assert_eq!(shorten(text, max), short);
        }
    }
}
