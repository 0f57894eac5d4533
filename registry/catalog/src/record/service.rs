//! What is known of a service apart from its instances.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::name::{NameError, check_name};

/// Most opinions a quorum may ask for.
const QUORUM_MAX: u32 = 100;
/// Most services a service may depend on.
const DEPENDS_ON_MAX: usize = 100;

/// What a service promises; where a field is missing, the configured default holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SloTarget {
    /// Share of probes that must succeed, between 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<f64>,
    /// An answer later than this is too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
}

/// How many opinions make a check critical: `"majority"`, `"any"`, `"all"`, or a number of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Quorum {
    /// More than half of those heard.
    #[default]
    Majority,
    /// One is enough.
    Any,
    /// Every one that is heard.
    All,
    /// So many.
    Count(u32),
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Majority => f.write_str("majority"),
            Self::Any => f.write_str("any"),
            Self::All => f.write_str("all"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// What is no quorum.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("quorum {0:?} is not known: give majority, any, all, or a number from 1 to {QUORUM_MAX}")]
pub struct QuorumError(String);

impl FromStr for Quorum {
    type Err = QuorumError;

    fn from_str(text: &str) -> Result<Self, QuorumError> {
        match text {
            "majority" => Ok(Self::Majority),
            "any" => Ok(Self::Any),
            "all" => Ok(Self::All),
            number => match number.parse() {
                Ok(count) if (1..=QUORUM_MAX).contains(&count) => Ok(Self::Count(count)),
                _ => Err(QuorumError(text.to_owned())),
            },
        }
    }
}

impl Serialize for Quorum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Quorum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Quorum;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "majority, any, all, or a number from 1 to {QUORUM_MAX}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quorum, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Quorum, E> {
                self.visit_str(&count.to_string())
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Quorum, E> {
                self.visit_str(&count.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What is known of a service apart from its instances. Optional: instances alone make a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name; the key's last segment.
    pub name: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its own promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<SloTarget>,
    /// How many opinions make a check of its instances critical; else the configured number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<Quorum>,
    /// When more than this share of its instances seems critical at once, none of them is believed to be. 0: never so;
    /// missing: the configured share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panic_threshold_percent: Option<u8>,
    /// What it cannot work without: `service`, or `service/instance`. While one of them is down, nobody is told of this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
}

/// Why a service's record is refused.
#[derive(Debug, Error, PartialEq)]
pub enum ServiceError {
    /// A name cannot be a key segment.
    #[error("{field}: {source}")]
    Name {
        /// The field.
        field: String,
        /// What is wrong with the name.
        source: NameError,
    },
    /// A share that is none.
    #[error("slo.availability is {0}: give a share between 0 and 1, like 0.9999")]
    Availability(f64),
    /// No answer comes in no time.
    #[error("slo.latency_ms is 0: give 1 or more")]
    Latency,
    /// A percentage that is none.
    #[error("panic_threshold_percent is {0}: give 0 (never) to 99")]
    Panic(u8),
    /// Too much to depend on.
    #[error("depends_on names {0}: name at most {DEPENDS_ON_MAX}")]
    Many(usize),
}

impl Service {
    /// A service of which nothing but the name is known.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Checks names and ranges. Circles of dependencies are found by who knows the other services.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), ServiceError> {
        let named = |field: String, what, name: &str| {
            check_name(what, name).map_err(|source| ServiceError::Name { field, source })
        };
        named("name".to_owned(), "service", &self.name)?;
        let slo = self.slo.as_ref();
        if let Some(share) = slo.and_then(|s| s.availability).filter(|a| !(*a > 0.0 && *a < 1.0)) {
            return Err(ServiceError::Availability(share));
        }
        if slo.and_then(|s| s.latency_ms) == Some(0) {
            return Err(ServiceError::Latency);
        }
        if let Some(percent) = self.panic_threshold_percent.filter(|p| *p > 99) {
            return Err(ServiceError::Panic(percent));
        }
        if self.depends_on.len() > DEPENDS_ON_MAX {
            return Err(ServiceError::Many(self.depends_on.len()));
        }
        for (at, parent) in self.depends_on.iter().enumerate() {
            let (service, instance) = match parent.split_once('/') {
                Some((service, instance)) => (service, Some(instance)),
                None => (parent.as_str(), None),
            };
            named(format!("depends_on[{at}]"), "service", service)?;
            if let Some(instance) = instance {
                named(format!("depends_on[{at}]"), "instance", instance)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums() {
        for (json, quorum) in [
            (r#""majority""#, Some(Quorum::Majority)),
            (r#""any""#, Some(Quorum::Any)),
            (r#""all""#, Some(Quorum::All)),
            ("2", Some(Quorum::Count(2))),
            (r#""2""#, Some(Quorum::Count(2))),
            ("0", None),
            ("-1", None),
            ("101", None),
            (r#""most""#, None),
            ("true", None),
        ] {
            let read = serde_json::from_str::<Quorum>(json);
            assert_eq!(read.as_ref().ok(), quorum.as_ref(), "{json}");
            match read {
                Ok(quorum) => {
                    let again = serde_json::to_string(&quorum).unwrap();
                    assert_eq!(serde_json::from_str::<Quorum>(&again).unwrap(), quorum);
                }
                Err(error) => assert!(error.to_string().contains("majority, any, all"), "{error}"),
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let service = |json: &str| serde_json::from_str::<Service>(json).unwrap();
        for (json, part) in [
            (r#"{"name": "a/b"}"#, "name: service name"),
            (r#"{"name": "a", "slo": {"availability": 99.9}}"#, "slo.availability is 99.9"),
            (r#"{"name": "a", "slo": {"latency_ms": 0}}"#, "slo.latency_ms is 0"),
            (r#"{"name": "a", "panic_threshold_percent": 100}"#, "panic_threshold_percent is 100"),
            (r#"{"name": "a", "depends_on": ["b", "c/"]}"#, "depends_on[1]: instance name"),
        ] {
            let error = service(json).validate().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let good = r#"{"name": "a", "panic_threshold_percent": 0, "depends_on": ["b", "c/d"], "quorum": "any"}"#;
        service(good).validate().unwrap();
    }
}
