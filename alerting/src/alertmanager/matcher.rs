//! Matchers: what a label must be. Read as Alertmanager reads them: the older form first (`name="value"`, names of
//! Prometheus), then the one in which names can be any text (`"näme"="value"`). Pure.

use std::fmt;

use regex::Regex;
use watchkeep_catalog::{AlertMatcher, LabelSet};

mod parse;

pub(crate) use parse::{parse, parse_all};

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Equal,
    NotEqual,
    Matches,
    NotMatches,
}

impl Op {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::NotMatches => "!~",
        }
    }

    fn is_regex(self) -> bool {
        matches!(self, Self::Matches | Self::NotMatches)
    }
}

/// One condition on a label. A label that is missing is empty.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) value: String,
    regex: Option<Regex>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Matcher {
    /// # Errors
    /// When the value is to be a regular expression and is none.
    pub(crate) fn new(name: &str, op: Op, value: &str) -> Result<Self, String> {
        let regex = match op.is_regex() {
            true => Some(Regex::new(&format!("^(?:{value})$")).map_err(|e| {
                let text = e.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                format!("{value:?} is not a regular expression: {last}")
            })?),
            false => None,
        };
        Ok(Self { name: name.to_owned(), op, value: value.to_owned(), regex })
    }

    /// As the older `match_re` has it: the value that is shown is the anchored one.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn anchored(name: &str, value: &str) -> Result<Self, String> {
        Ok(Self { value: format!("^(?:{value})$"), ..Self::new(name, Op::Matches, value)? })
    }

    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn of_record(record: &AlertMatcher) -> Result<Self, String> {
        let op = match (record.is_regex, record.is_equal) {
            (false, true) => Op::Equal,
            (false, false) => Op::NotEqual,
            (true, true) => Op::Matches,
            (true, false) => Op::NotMatches,
        };
        Self::new(&record.name, op, &record.value)
    }

    pub(crate) fn matches_value(&self, value: &str) -> bool {
        let fits = self.regex.as_ref().map(|regex| regex.is_match(value));
        match self.op {
            Op::Equal => value == self.value,
            Op::NotEqual => value != self.value,
            Op::Matches => fits == Some(true),
            Op::NotMatches => fits == Some(false),
        }
    }

    pub(crate) fn matches(&self, labels: &LabelSet) -> bool {
        self.matches_value(labels.get(&self.name).map_or("", String::as_str))
    }
}

/// Whether all of them hold.
pub(crate) fn all_match(matchers: &[Matcher], labels: &LabelSet) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = is_plain_name(&self.name);
        let name = if plain { self.name.clone() } else { quote(&self.name) };
        write!(f, "{name}{}{}", self.op.as_str(), quote(&self.value))
    }
}

/// As group keys have it: `{a="b",c=~"d"}`.
pub(crate) fn show(matchers: &[Matcher]) -> String {
    let each: Vec<_> = matchers.iter().map(ToString::to_string).collect();
    format!("{{{}}}", each.join(","))
}

/// Whether a name needs no quotes.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(begins) && name.chars().all(|c| begins(c) || c.is_ascii_digit())
}

/// In quotes, as Go's `%q` writes text: what is printable stays as it is.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> LabelSet {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_missing_label_is_empty() {
        for (op, value, with, without) in [
            (Op::Equal, "b", true, false),
            (Op::Equal, "", false, true),
            (Op::NotEqual, "b", false, true),
            (Op::Matches, "b|c", true, false),
            (Op::Matches, ".*", true, true),
            (Op::Matches, "", false, true),
            (Op::NotMatches, "b.*", false, true),
        ] {
            let matcher = Matcher::new("a", op, value).unwrap();
            assert_eq!(matcher.matches(&labels(&[("a", "b")])), with, "{matcher}");
            assert_eq!(matcher.matches(&labels(&[])), without, "{matcher}");
        }
        let anchored = Matcher::new("a", Op::Matches, "b").unwrap();
        assert!(!anchored.matches(&labels(&[("a", "bb")])));
        assert!(Matcher::new("a", Op::Matches, "(").unwrap_err().contains("unclosed group"));
    }

    #[test]
    fn shown_as_in_a_group_key() {
        let matchers = [("a", Op::Equal, "x\"y"), ("ä b", Op::NotMatches, "z")]
            .map(|(n, op, v)| Matcher::new(n, op, v).unwrap());
        assert_eq!(show(&matchers), "{a=\"x\\\"y\",\"ä b\"!~\"z\"}");
        assert_eq!(show(&[]), "{}");
    }
}
