//! Which series a query means. Semantics are PromQL's: a label that is missing has the empty value, and
//! regular expressions match the whole value.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::literal::Extractor;

use crate::{Labels, SeriesError};

/// Largest compiled expression in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// An expression of at most this many texts is looked up instead of being run.
const TEXTS_MAX: usize = 1_000;

/// A regular expression on whole values, compiled once.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    /// All texts that it means, sorted, where they are few: `a|b|c` means three.
    texts: Option<Arc<[String]>>,
}

impl Pattern {
    /// Whether the whole value is meant.
    #[must_use]
    pub fn is_match(&self, value: &str) -> bool {
        match &self.texts {
            Some(texts) => texts.binary_search_by(|text| (**text).cmp(value)).is_ok(),
            None => self.regex.is_match(value),
        }
    }

    /// All values that are meant, if they are few.
    pub(crate) fn texts(&self) -> Option<&[String]> {
        self.texts.as_deref()
    }
}

/// One condition on one label.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// `name="value"`
    Equal(String, String),
    /// `name!="value"`
    NotEqual(String, String),
    /// `name=~"pattern"`; made by [`Matcher::regex`].
    Regex(String, Pattern),
    /// `name!~"pattern"`; made by [`Matcher::not_regex`].
    NotRegex(String, Pattern),
}

impl Matcher {
    /// `name=~"pattern"`, anchored at both ends.
    ///
    /// # Errors
    /// When the pattern does not compile.
    pub fn regex(name: &str, pattern: &str) -> Result<Self, SeriesError> {
        Ok(Self::Regex(name.to_owned(), anchored(name, pattern)?))
    }

    /// `name!~"pattern"`, anchored at both ends.
    ///
    /// # Errors
    /// When the pattern does not compile.
    pub fn not_regex(name: &str, pattern: &str) -> Result<Self, SeriesError> {
        Ok(Self::NotRegex(name.to_owned(), anchored(name, pattern)?))
    }

    /// Whether the series is meant.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.means(labels.get(self.name()).unwrap_or_default())
    }

    /// The label that it is about.
    #[must_use]
    pub fn name(&self) -> &str {
        let (Self::Equal(name, _)
        | Self::NotEqual(name, _)
        | Self::Regex(name, _)
        | Self::NotRegex(name, _)) = self;
        name
    }

    /// Whether a label with this value is meant; a missing one has the empty value.
    #[must_use]
    pub fn means(&self, value: &str) -> bool {
        match self {
            Self::Equal(_, wanted) => value == wanted,
            Self::NotEqual(_, wanted) => value != wanted,
            Self::Regex(_, pattern) => pattern.is_match(value),
            Self::NotRegex(_, pattern) => !pattern.is_match(value),
        }
    }
}

fn anchored(name: &str, pattern: &str) -> Result<Pattern, SeriesError> {
    let regex = RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|e| SeriesError::Regex { label: name.to_owned(), message: e.to_string() })?;
    Ok(Pattern { regex, texts: texts(pattern) })
}

/// All texts that a pattern means, sorted, if they are few and no more than that is known of it.
fn texts(pattern: &str) -> Option<Arc<[String]>> {
    let hir = regex_syntax::parse(&format!("(?s:{pattern})")).ok()?;
    if !hir.properties().look_set().is_empty() {
        return None;
    }
    let mut extractor = Extractor::new();
    extractor.limit_class(16).limit_repeat(4).limit_literal_len(1 << 10).limit_total(TEXTS_MAX);
    let found = extractor.extract(&hir);
    let literals = found.literals().filter(|all| all.iter().all(|text| text.is_exact()))?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let mut texts: Vec<_> = literals.iter().map(|l| text(l.as_bytes())).collect::<Option<_>>()?;
    texts.sort_unstable();
    texts.dedup();
    Some(texts.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() -> Result<(), SeriesError> {
        let labels = Labels::new([("__name__", "up"), ("service", "web")]);
        let equal = |n: &str, v: &str| Matcher::Equal(n.into(), v.into());
        let not_equal = |n: &str, v: &str| Matcher::NotEqual(n.into(), v.into());
        for (matcher, matches) in [
            (equal("service", "web"), true),
            (equal("service", "we"), false),
            (equal("zone", ""), true),
            (not_equal("service", "web"), false),
            (not_equal("zone", "a"), true),
            (not_equal("zone", ""), false),
            (Matcher::regex("service", "w.*")?, true),
            (Matcher::regex("service", "e")?, false),
            (Matcher::regex("service", "db|web")?, true),
            (Matcher::regex("zone", "")?, true),
            (Matcher::not_regex("service", "w")?, true),
            (Matcher::not_regex("service", "web|db")?, false),
            (Matcher::not_regex("zone", ".+")?, true),
        ] {
            assert_eq!(matcher.matches(&labels), matches, "{matcher:?}");
        }
        Ok(())
    }

    #[test]
    fn few_texts_are_looked_up() {
        for (pattern, expected) in [
            ("b|a|b", Some(&["a", "b"][..])),
            ("", Some(&[""])),
            ("a?", Some(&["", "a"])),
            ("web-[12]|db", Some(&["db", "web-1", "web-2"])),
            ("(?i:Ab)", Some(&["AB", "Ab", "aB", "ab"])),
            ("a.c", None),
            ("a*", None),
            ("a|b.*", None),
            (r"\ba", None),
            ("^a$", None),
            ("[^a]", None),
        ] {
            let texts = texts(pattern);
            let texts: Option<Vec<_>> =
                texts.as_deref().map(|t| t.iter().map(String::as_str).collect());
            assert_eq!(texts.as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = Matcher::regex("service", "(").expect_err("unclosed group");
        assert!(error.to_string().starts_with("label \"service\": regex parse error"), "{error}");
    }
}
