//! Which series a query means. Semantics are PromQL's: a label that is missing has the empty value, and
//! regular expressions match the whole value.

use regex::{Regex, RegexBuilder};

use crate::{Labels, SeriesError};

/// Largest compiled expression in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// One condition on one label.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// `name="value"`
    Equal(String, String),
    /// `name!="value"`
    NotEqual(String, String),
    /// `name=~"pattern"`; made by [`Matcher::regex`].
    Regex(String, Regex),
    /// `name!~"pattern"`; made by [`Matcher::not_regex`].
    NotRegex(String, Regex),
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
        let (Self::Equal(name, _)
        | Self::NotEqual(name, _)
        | Self::Regex(name, _)
        | Self::NotRegex(name, _)) = self;
        let value = labels.get(name).unwrap_or_default();
        match self {
            Self::Equal(_, wanted) => value == wanted,
            Self::NotEqual(_, wanted) => value != wanted,
            Self::Regex(_, regex) => regex.is_match(value),
            Self::NotRegex(_, regex) => !regex.is_match(value),
        }
    }
}

fn anchored(name: &str, pattern: &str) -> Result<Regex, SeriesError> {
    RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|e| SeriesError::Regex { label: name.to_owned(), message: e.to_string() })
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
    fn a_bad_pattern_is_named() {
        let error = Matcher::regex("service", "(").expect_err("unclosed group");
        assert!(error.to_string().starts_with("label \"service\": regex parse error"), "{error}");
    }
}
