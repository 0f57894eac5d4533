//! Alerting's view of the series store: a PromQL vector selector in, samples out.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use watchkeep_alerting::source::{SeriesData, Source, SourceError};
use watchkeep_series::{METRIC_NAME, Matcher, SeriesStore};

/// The store as a [`Source`].
#[derive(Debug, Clone)]
pub(crate) struct StoreSource(pub(crate) Arc<SeriesStore>);

impl Source for StoreSource {
    fn select<'a>(
        &'a self,
        selector: &'a str,
        from_ms: i64,
        to_ms: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>> {
        let store = self.0.clone();
        Box::pin(async move {
            let matchers = matchers(selector).map_err(|message| SourceError::Selector {
                selector: selector.to_owned(),
                message,
            })?;
            let fail = |message| SourceError::Read { selector: selector.to_owned(), message };
            // Reading a day of samples takes a while: not on the threads that keep the time of everything else.
            let read = move || store.select(&matchers, from_ms, to_ms);
            let found = tokio::task::spawn_blocking(read).await.map_err(|e| fail(e.to_string()))?;
            let series =
                found.map_err(|e| fail(e.to_string()))?.into_iter().map(|series| SeriesData {
                    labels: series
                        .labels
                        .iter()
                        .map(|(n, v)| (n.to_owned(), v.to_owned()))
                        .collect::<BTreeMap<_, _>>(),
                    samples: series.samples.iter().map(|s| (s.timestamp_ms, s.value)).collect(),
                });
            Ok(series.collect())
        })
    }
}

/// Reads `name{label="value", other=~"a|b"}`: PromQL's vector selector without offset and range.
fn matchers(selector: &str) -> Result<Vec<Matcher>, String> {
    let (name, rest) = take_name(selector.trim());
    let mut matchers = Vec::new();
    if !name.is_empty() {
        matchers.push(Matcher::Equal(METRIC_NAME.to_owned(), name.to_owned()));
    }
    let mut rest = rest.trim_start();
    if rest.is_empty() && !name.is_empty() {
        return Ok(matchers);
    }
    rest = rest.strip_prefix('{').ok_or_else(|| unexpected(rest, "{"))?.trim_start();
    loop {
        if let Some(end) = rest.strip_prefix('}') {
            return if end.trim().is_empty() {
                Ok(matchers)
            } else {
                Err(unexpected(end, "the end"))
            };
        }
        let (matcher, behind) = take_matcher(rest)?;
        matchers.push(matcher);
        let behind = behind.trim_start();
        rest = match behind.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if behind.starts_with('}') => behind,
            None => return Err(unexpected(behind, ", or }")),
        };
    }
}

fn take_name(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
    text.split_at(end.unwrap_or(text.len()))
}

fn take_matcher(text: &str) -> Result<(Matcher, &str), String> {
    let (label, rest) = take_name(text);
    if label.is_empty() {
        return Err(unexpected(text, "a label name"));
    }
    let rest = rest.trim_start();
    let operator = ["=~", "!~", "!=", "="].into_iter().find(|op| rest.starts_with(op));
    let operator = operator.ok_or_else(|| unexpected(rest, "=, !=, =~ or !~"))?;
    let (value, rest) = take_string(rest[operator.len()..].trim_start())?;
    let matcher = match operator {
        "=" => Matcher::Equal(label.to_owned(), value),
        "!=" => Matcher::NotEqual(label.to_owned(), value),
        "=~" => Matcher::regex(label, &value).map_err(|e| e.to_string())?,
        _ => Matcher::not_regex(label, &value).map_err(|e| e.to_string())?,
    };
    Ok((matcher, rest))
}

/// A string in double or single quotes with backslash escapes, or in backticks as it stands.
fn take_string(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.char_indices();
    let quote = match chars.next() {
        Some((_, quote @ ('"' | '\'' | '`'))) => quote,
        _ => return Err(unexpected(text, "a string")),
    };
    let mut value = String::new();
    while let Some((at, char)) = chars.next() {
        match char {
            end if end == quote => return Ok((value, &text[at + end.len_utf8()..])),
            '\\' if quote != '`' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, same @ ('\\' | '"' | '\''))) => value.push(same),
                _ => return Err(format!("a string with an unknown escape: {text}")),
            },
            other => value.push(other),
        }
    }
    Err(format!("a string without its end: {text}"))
}

fn unexpected(found: &str, expected: &str) -> String {
    let found: String = found.chars().take(20).collect();
    format!("expected {expected} where {found:?} stands")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        for (selector, expected) in [
            ("up", Some(r#"[Equal("__name__", "up")]"#)),
            (
                r#"up{ job = "a\"b" , zone!='x', }"#,
                Some(r#"[Equal("__name__", "up"), Equal("job", "a\"b"), NotEqual("zone", "x")]"#),
            ),
            (r#"{service=~`a\.b|c`}"#, Some(r#"[Regex("service", Regex("^(?s:a\\.b|c)$"))]"#)),
            ("up{}", Some(r#"[Equal("__name__", "up")]"#)),
            ("", None),
            ("up{", None),
            ("up{a}", None),
            ("up{a=b}", None),
            (r#"up{a="b"} 5"#, None),
            (r#"up{a="b" c="d"}"#, None),
            (r#"up{a="b}"#, None),
            (r#"up{a=~"("}"#, None),
        ] {
            let found = matchers(selector).ok().map(|m| format!("{m:?}"));
            assert_eq!(found.as_deref(), expected, "{selector}");
        }
    }
}
