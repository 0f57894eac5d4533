//! Prober `dns`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{IpProtocol, TlsSettings, or_default, yes};

/// A question and what makes its answer good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsModule {
    /// IPv4 or IPv6 first.
    #[serde(default)]
    pub preferred_ip_protocol: IpProtocol,
    /// Take the other where there is none.
    #[serde(default = "yes")]
    pub ip_protocol_fallback: bool,
    /// TLS; needs `transport_protocol: tcp`.
    #[serde(default)]
    pub dns_over_tls: bool,
    /// TLS with the server.
    #[serde(default, deserialize_with = "or_default")]
    pub tls_config: TlsSettings,
    /// The address of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip_address: Option<IpAddr>,
    /// `udp` or `tcp`; empty: `udp`.
    #[serde(default, deserialize_with = "or_default")]
    pub transport_protocol: String,
    /// The name. Has to be given.
    #[serde(default, deserialize_with = "or_default")]
    pub query_name: String,
    /// The type; empty: `ANY`.
    #[serde(default, deserialize_with = "or_default")]
    pub query_type: String,
    /// The class; empty: `IN`.
    #[serde(default, deserialize_with = "or_default")]
    pub query_class: String,
    /// Ask for recursion.
    #[serde(default = "yes")]
    pub recursion_desired: bool,
    /// Good response codes; empty: `NOERROR`.
    #[serde(default, deserialize_with = "or_default")]
    pub valid_rcodes: Vec<String>,
    /// Of the answer section.
    #[serde(default, deserialize_with = "or_default")]
    pub validate_answer_rrs: RecordRules,
    /// Of the authority section.
    #[serde(default, deserialize_with = "or_default")]
    pub validate_authority_rrs: RecordRules,
    /// Of the additional section.
    #[serde(default, deserialize_with = "or_default")]
    pub validate_additional_rrs: RecordRules,
}

/// What records have to be, or must not be, in the notation of zone files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordRules {
    /// A failure when a record matches one.
    #[serde(deserialize_with = "or_default")]
    pub fail_if_matches_regexp: Vec<String>,
    /// A failure unless every record matches all: named the other way round, kept as blackbox_exporter has it.
    #[serde(deserialize_with = "or_default")]
    pub fail_if_all_match_regexp: Vec<String>,
    /// A failure when a record does not match one, or there is none.
    #[serde(deserialize_with = "or_default")]
    pub fail_if_not_matches_regexp: Vec<String>,
    /// A failure when no record matches any.
    #[serde(deserialize_with = "or_default")]
    pub fail_if_none_matches_regexp: Vec<String>,
}
