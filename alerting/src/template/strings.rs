//! Functions on strings: case, regular expressions, host names, URLs. Pure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use gotmpl::Value;
use regex::Regex;

use super::{Functions, failed};

/// Regular expressions that are kept ready; beyond it all are made anew.
const READY_MAX: usize = 100;

/// Regular expressions by their text: a template asks the same one of every alert.
#[derive(Default)]
struct Ready(Mutex<HashMap<String, Regex>>);

impl Ready {
    fn get(&self, pattern: &str) -> gotmpl::Result<Regex> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = ready.get(pattern) {
            return Ok(found.clone());
        }
        let made = Regex::new(pattern)
            .map_err(|e| failed(format!("regular expression {pattern:?}: {e}")))?;
        if ready.len() >= READY_MAX {
            ready.clear();
        }
        ready.insert(pattern.to_owned(), made.clone());
        Ok(made)
    }
}

/// With the functions on strings that rules and receivers share.
pub(super) fn with_strings(functions: Functions) -> Functions {
    let matched = Arc::new(Ready::default());
    let replaced = Arc::clone(&matched);
    functions
        .with("title", |a| Ok(text(title(a.strings::<1>()?[0]))))
        .with("toUpper", |a| Ok(text(a.strings::<1>()?[0].to_uppercase())))
        .with("toLower", |a| Ok(text(a.strings::<1>()?[0].to_lowercase())))
        .with("match", move |a| {
            let [pattern, subject] = a.strings()?;
            Ok(Value::Bool(matched.get(pattern)?.is_match(subject)))
        })
        .with("reReplaceAll", move |a| {
            let [pattern, replacement, subject] = a.strings()?;
            Ok(text(replaced.get(pattern)?.replace_all(subject, replacement).into_owned()))
        })
        .with("safeHtml", |a| {
            let [html] = a.strings()?;
            Ok(gotmpl::html::HTML::from(html).into())
        })
}

/// A string value.
pub(super) fn text(text: impl Into<String>) -> Value {
    Value::String(text.into().into())
}

/// The first letter of every word large, the others as they are.
fn title(words: &str) -> String {
    let mut before = ' ';
    words
        .chars()
        .map(|char| {
            let first = !(before.is_alphanumeric() || before == '_')
                && (before.is_ascii() || before.is_whitespace());
            before = char;
            match first {
                true => char.to_uppercase().next().unwrap_or(char),
                false => char,
            }
        })
        .collect()
}

/// Host and port of `host:port`, `[host]:port`.
fn split(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inner) => Some((inner.strip_suffix(']')?, port)),
        None if host.contains(':') => None,
        None => Some((host, port)),
    }
}

/// The host of `host:port`; anything else as it stands.
pub(super) fn strip_port(address: &str) -> &str {
    split(address).map_or(address, |(host, _)| host)
}

/// The first label of the host, and the port; addresses as they stand.
pub(super) fn strip_domain(address: &str) -> String {
    let (host, port) = split(address).map_or((address, None), |(h, p)| (h, Some(p)));
    if host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok() {
        return address.to_owned();
    }
    let name = host.split('.').next().unwrap_or(host);
    port.map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// As Go's `url.QueryEscape` does: a space is `+`.
pub(super) fn query_escape(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('*', "%2A")
        .replace("%7E", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (address, host, short) in [
            ("a.example.org:80", "a.example.org", "a:80"),
            ("a.example.org", "a.example.org", "a"),
            ("a", "a", "a"),
            ("10.0.0.1:80", "10.0.0.1", "10.0.0.1:80"),
            ("[::1]:80", "::1", "[::1]:80"),
            ("::1", "::1", "::1"),
            ("", "", ""),
        ] {
            assert_eq!(strip_port(address), host, "{address}");
            assert_eq!(strip_domain(address), short, "{address}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(title("a bC d-e f_g é x"), "A BC D-E F_g É X");
        assert_eq!(query_escape("a b+c/d~*é"), "a+b%2Bc%2Fd~%2A%C3%A9");
    }
}
