//! What makes an answer good.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Statuses from one to another, both included: `200`, `"200-299"`, `"2xx"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// First.
    pub first: u16,
    /// Last.
    pub last: u16,
}

impl StatusRange {
    /// Whether it holds `status`.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
            return Some(Self { first: class * 100, last: class * 100 + 99 });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        let known = 100..600;
        let is_good = known.contains(&range.first) && known.contains(&range.last);
        (is_good && range.first <= range.last).then_some(range)
    }
}

impl From<u16> for StatusRange {
    fn from(status: u16) -> Self {
        Self { first: status, last: status }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Serialize for StatusRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last {
            serializer.serialize_u16(self.first)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(u16),
            Text(String),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Number(number) => number.to_string(),
            Form::Text(text) => text,
        };
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "status {text:?}: give 100 to 599, a range such as \"200-299\", or a class such as \"2xx\""
            ))
        })
    }
}

/// A header and a regular expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// Its name.
    pub header: String,
    /// What its values are matched against.
    pub regexp: String,
    /// An answer without the header is no failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_missing: bool,
}

/// How a body is compressed. One that is not compressed so is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 1951.
    Deflate,
    /// Not at all.
    Identity,
}

impl Compression {
    /// As `accept-encoding` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Identity => "identity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_statuses() {
        for (json, range, back) in [
            ("200", (200, 200), "200"),
            ("\"204\"", (204, 204), "204"),
            ("\"2xx\"", (200, 299), "\"200-299\""),
            ("\"301-308\"", (301, 308), "\"301-308\""),
        ] {
            let read: StatusRange = serde_json::from_str(json).expect(json);
            assert_eq!((read.first, read.last), range);
            assert_eq!(serde_json::to_string(&read).expect("JSON"), back);
        }
        for json in ["99", "600", "\"6xx\"", "\"300-200\"", "\"ok\"", "\"200-\""] {
            assert!(serde_json::from_str::<StatusRange>(json).is_err(), "{json}");
        }
    }
}
