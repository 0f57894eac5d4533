//! A check that asks by HTTP.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind};

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

impl CheckKind for HttpCheck {
    fn port(&self) -> Option<u16> {
        self.port
    }

    fn validate(&self) -> Result<(), CheckError> {
        if !self.path.starts_with('/') {
            return Err(CheckError::Path(self.path.clone()));
        }
        match self.expected_status.iter().find(|status| !(100..600).contains(*status)) {
            Some(status) => Err(CheckError::ExpectedStatus(*status)),
            None => Ok(()),
        }
    }
}
