//! Probers `tcp`, `icmp` and `grpc`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{IpProtocol, TlsSettings, or_default};

/// A connection and a dialogue over it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcpModule {
    /// IPv4 or IPv6 first.
    pub preferred_ip_protocol: IpProtocol,
    /// Take the other where there is none.
    pub ip_protocol_fallback: bool,
    /// The address of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip_address: Option<IpAddr>,
    /// What is said and expected, one after the other.
    #[serde(deserialize_with = "or_default")]
    pub query_response: Vec<QueryResponse>,
    /// TLS from the beginning.
    pub tls: bool,
    /// TLS with the target.
    #[serde(deserialize_with = "or_default")]
    pub tls_config: TlsSettings,
}

/// One step of a dialogue: first a line is awaited, then one is sent, then TLS begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryResponse {
    /// A pattern that a line has to match; lines before it are passed over.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub expect: String,
    /// Labels of `probe_expect_info`, their values with the groups of `expect`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<ExpectLabel>,
    /// A line that is sent, with the groups of `expect`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub send: String,
    /// TLS begins behind this step.
    pub starttls: bool,
}

/// A label made of what was matched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectLabel {
    /// Its name.
    pub name: String,
    /// Its value, `${1}` standing for a group.
    pub value: String,
}

/// An echo request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IcmpModule {
    /// IPv4 or IPv6 first.
    pub preferred_ip_protocol: IpProtocol,
    /// Take the other where there is none.
    pub ip_protocol_fallback: bool,
    /// The address of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ip_address: Option<IpAddr>,
    /// Set the bit that forbids routers to split the packet. IPv4.
    pub dont_fragment: bool,
    /// Bytes behind the header.
    pub payload_size: u32,
    /// Hops after which the packet is dropped; 0: the system's.
    pub ttl: u8,
}

/// The standard health service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcModule {
    /// Whose health; empty: the server's.
    #[serde(deserialize_with = "or_default")]
    pub service: String,
    /// Over TLS.
    pub tls: bool,
    /// TLS with the target.
    #[serde(deserialize_with = "or_default")]
    pub tls_config: TlsSettings,
    /// IPv4 or IPv6 first.
    pub preferred_ip_protocol: IpProtocol,
    /// Take the other where there is none.
    pub ip_protocol_fallback: bool,
}

impl Default for TcpModule {
    fn default() -> Self {
        Self {
            preferred_ip_protocol: IpProtocol::default(),
            ip_protocol_fallback: true,
            source_ip_address: None,
            query_response: Vec::new(),
            tls: false,
            tls_config: TlsSettings::default(),
        }
    }
}

impl Default for IcmpModule {
    fn default() -> Self {
        Self {
            preferred_ip_protocol: IpProtocol::default(),
            ip_protocol_fallback: true,
            source_ip_address: None,
            dont_fragment: false,
            payload_size: 0,
            ttl: 0,
        }
    }
}

impl Default for GrpcModule {
    fn default() -> Self {
        Self {
            service: String::new(),
            tls: false,
            tls_config: TlsSettings::default(),
            preferred_ip_protocol: IpProtocol::default(),
            ip_protocol_fallback: true,
        }
    }
}
