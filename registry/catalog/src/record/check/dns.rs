//! A check that asks a DNS server.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind, TlsSettings};

/// How the question travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnsTransport {
    /// One datagram each way.
    #[default]
    Udp,
    /// A connection.
    Tcp,
    /// A connection with TLS (RFC 7858).
    Tls,
}

/// A question to the DNS server that the instance is, and what makes its answer good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsCheck {
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the question travels.
    #[serde(default)]
    pub transport: DnsTransport,
    /// The name asked about.
    pub query_name: String,
    /// The type asked for: `A`, `SOA`, …, or `ANY`.
    #[serde(default = "any")]
    pub query_type: String,
    /// The class: `IN`, `CH`, `HS` or `ANY`.
    #[serde(default = "internet")]
    pub query_class: String,
    /// Whether the server is asked to ask others.
    #[serde(default = "yes")]
    pub recursion_desired: bool,
    /// Good response codes; empty: `NOERROR`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub valid_rcodes: Vec<String>,
    /// What the answer section has to hold.
    #[serde(default, skip_serializing_if = "DnsRecordRules::is_empty")]
    pub validate_answer_rrs: DnsRecordRules,
    /// What the authority section has to hold.
    #[serde(default, skip_serializing_if = "DnsRecordRules::is_empty")]
    pub validate_authority_rrs: DnsRecordRules,
    /// What the additional section has to hold.
    #[serde(default, skip_serializing_if = "DnsRecordRules::is_empty")]
    pub validate_additional_rrs: DnsRecordRules,
    /// TLS, with `transport: tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
}

/// Rules for the records of one section, each a list of regular expressions over a record as text:
/// `name. <tab> TTL <tab> IN <tab> TYPE <tab> data`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsRecordRules {
    /// Bad when any record matches any of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_if_matches_regexp: Vec<String>,
    /// Bad when some record does not match all of them (not what the name says, but what blackbox_exporter does).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_if_all_match_regexp: Vec<String>,
    /// Bad when some record does not match one of them, or there is no record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_if_not_matches_regexp: Vec<String>,
    /// Bad when no record matches any of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fail_if_none_matches_regexp: Vec<String>,
}

impl DnsRecordRules {
    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn any() -> String {
    "ANY".to_owned()
}
fn internet() -> String {
    "IN".to_owned()
}
fn yes() -> bool {
    true
}

impl Default for DnsCheck {
    /// Without a name: to be completed.
    fn default() -> Self {
        Self {
            port: None,
            transport: DnsTransport::Udp,
            query_name: String::new(),
            query_type: any(),
            query_class: internet(),
            recursion_desired: true,
            valid_rcodes: Vec::new(),
            validate_answer_rrs: DnsRecordRules::default(),
            validate_authority_rrs: DnsRecordRules::default(),
            validate_additional_rrs: DnsRecordRules::default(),
            tls: None,
        }
    }
}

impl CheckKind for DnsCheck {
    fn reuses(&self) -> bool {
        self.transport != DnsTransport::Udp
    }

    fn port(&self) -> Option<u16> {
        self.port
    }

    fn validate(&self) -> Result<(), CheckError> {
        if self.query_name.is_empty() {
            return Err(CheckError::Field {
                field: "dns.query_name",
                value: String::new(),
                remedy: "give the name to ask about, such as example.com",
            });
        }
        match &self.tls {
            Some(_) if self.transport != DnsTransport::Tls => Err(CheckError::Field {
                field: "dns.tls",
                value: "set".to_owned(),
                remedy: "give it with transport: tls only",
            }),
            Some(tls) => tls.validate(),
            None => Ok(()),
        }
    }
}
