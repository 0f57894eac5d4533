//! The types of blackbox_exporter's `blackbox.yml`, field by field, so that a file made for it is read unchanged.
//!
//! The names are its (version 0.23, and later ones' where a probe of ours has the same ability); what a module means for
//! our probes is [`super::module`]. Nothing here is judged: that is [`super::judge`].

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

mod client;
mod dns;
mod http;
mod tcp;
mod value;

pub use client::{Authorization, BasicAuth, OAuth2, TlsSettings};
pub use dns::{DnsModule, RecordRules};
pub use http::{HeaderRule, HttpModule};
pub use tcp::{ExpectLabel, GrpcModule, IcmpModule, QueryResponse, TcpModule};
pub use value::{ByteSize, GoDuration, Secret};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modules {
    /// Each by its name, which `/probe?module=…` gives.
    #[serde(default, deserialize_with = "or_default")]
    pub modules: BTreeMap<String, Module>,
}

/// One way to probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Which of the sections below counts. Has to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prober: Option<ProberKind>,
    /// A probe that takes longer has failed; none: what the scrape allows.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GoDuration>,
    /// Of prober `http`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpModule>,
    /// Of prober `tcp`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpModule>,
    /// Of prober `dns`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsModule>,
    /// Of prober `icmp`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpModule>,
    /// Of prober `grpc`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcModule>,
}

/// The probers that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProberKind {
    /// A request and its answer.
    Http,
    /// A connection and a dialogue over it.
    Tcp,
    /// A question to a name server.
    Dns,
    /// An echo request.
    Icmp,
    /// The standard health service.
    Grpc,
}

impl ProberKind {
    /// As the file writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Dns => "dns",
            Self::Icmp => "icmp",
            Self::Grpc => "grpc",
        }
    }
}

/// Which addresses of a target are taken first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpProtocol {
    /// IPv6.
    #[default]
    #[serde(rename = "ip6")]
    Ip6,
    /// IPv4.
    #[serde(rename = "ip4")]
    Ip4,
}

/// A field that stands there without a value is as if it were not there.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn yes() -> bool {
    true
}
