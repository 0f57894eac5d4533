//! How an instance is probed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::{NameError, check_name};

/// Shortest interval and timeout.
const INTERVAL_MS_MIN: u64 = 10;
/// Longest interval and timeout: a day.
const INTERVAL_MS_MAX: u64 = 86_400_000;

/// One probe of an instance, again and again. Exactly one of `http` and `tcp` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Unique within the instance.
    pub name: String,
    /// From the start of one probe to the start of the next.
    #[serde(default = "interval_ms")]
    pub interval_ms: u64,
    /// A probe that takes longer has failed.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Successes in a row until the opinion is `passing`.
    #[serde(default = "one")]
    pub rise: u32,
    /// Failures in a row until the opinion is `critical`.
    #[serde(default = "two")]
    pub fall: u32,
    /// Ask by HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// Only connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpCheck>,
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// TLS, the certificate checked against the public roots.
    Https,
}

/// An HTTP request and what makes its answer good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    /// Plain or TLS.
    #[serde(default)]
    pub scheme: Scheme,
    /// Method.
    #[serde(default = "get")]
    pub method: String,
    /// Path and query.
    #[serde(default = "slash")]
    pub path: String,
    /// Sent with the request; `host` replaces the one made of address and port.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Good statuses; empty: 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected_status: Vec<u16>,
    /// A regular expression that must match somewhere in the body's first MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_body: Option<String>,
}

/// A TCP connection that only has to be accepted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpCheck {
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

fn interval_ms() -> u64 {
    5_000
}
fn timeout_ms() -> u64 {
    2_000
}
fn one() -> u32 {
    1
}
fn two() -> u32 {
    2
}
fn get() -> String {
    "GET".to_owned()
}
fn slash() -> String {
    "/".to_owned()
}

impl Default for HttpCheck {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            method: get(),
            path: slash(),
            headers: BTreeMap::new(),
            port: None,
            expected_status: Vec::new(),
            expected_body: None,
        }
    }
}

/// Why a check is refused.
#[derive(Debug, Error, PartialEq)]
pub enum CheckError {
    /// Its name cannot be a key segment.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Neither or both of `http` and `tcp`.
    #[error("{0} of http and tcp are set: set exactly one")]
    Kind(u8),
    /// A number out of range.
    #[error("{field} is {value}: give {min} to {max}")]
    Range {
        /// The field.
        field: &'static str,
        /// What it says.
        value: u64,
        /// Smallest that is allowed.
        min: u64,
        /// Largest that is allowed.
        max: u64,
    },
    /// The path lacks its slash.
    #[error("http.path is {0:?}: begin it with /")]
    Path(String),
    /// A status that HTTP does not have.
    #[error("http.expected_status has {0}: give 100 to 599")]
    ExpectedStatus(u16),
}

impl Check {
    /// `http` or `tcp`, for labels.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.http.is_some() { "http" } else { "tcp" }
    }

    /// Checks ranges and that exactly one kind is set. The regular expression is compiled by the collector.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), CheckError> {
        check_name("check", &self.name)?;
        let kinds = u8::from(self.http.is_some()) + u8::from(self.tcp.is_some());
        if kinds != 1 {
            return Err(CheckError::Kind(kinds));
        }
        for (field, value, min, max) in [
            ("interval_ms", self.interval_ms, INTERVAL_MS_MIN, INTERVAL_MS_MAX),
            ("timeout_ms", self.timeout_ms, 1, INTERVAL_MS_MAX),
            ("rise", u64::from(self.rise), 1, 1000),
            ("fall", u64::from(self.fall), 1, 1000),
        ] {
            if value < min || value > max {
                return Err(CheckError::Range { field, value, min, max });
            }
        }
        if let Some(http) = &self.http {
            if !http.path.starts_with('/') {
                return Err(CheckError::Path(http.path.clone()));
            }
            if let Some(status) = http.expected_status.iter().find(|s| !(100..600).contains(*s)) {
                return Err(CheckError::ExpectedStatus(*status));
            }
        }
        Ok(())
    }
}
