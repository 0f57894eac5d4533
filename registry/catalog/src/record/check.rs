//! How an instance is probed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::{NameError, check_name};

mod alias;
mod dns;
mod etcd;
mod grpc;
mod http;
mod icmp;
mod kind;
mod pool;
mod script;
mod secret;
mod tcp;
mod tls;
mod tls_settings;
mod ttl;
mod unix;
mod websocket;

pub use alias::AliasCheck;
pub use dns::{DnsCheck, DnsRecordRules, DnsTransport};
pub use etcd::EtcdCheck;
pub use grpc::GrpcCheck;
pub use http::{
    Authorization, BasicAuth, Compression, HeaderMatch, HttpCheck, HttpVersion, OAuth2, Proxy,
    Scheme, StatusRange,
};
pub use icmp::IcmpCheck;
pub use kind::{CheckKind, Kind};
pub use pool::CheckPool;
pub use script::ScriptCheck;
pub use secret::Secret;
pub use tcp::{DialogueStep, TcpCheck};
pub use tls::TlsCheck;
pub use tls_settings::{TlsSettings, TlsVersion};
pub use ttl::TtlCheck;
pub use unix::UnixCheck;
pub use websocket::{WebSocketCheck, WebSocketScheme};

/// Shortest interval and timeout.
const INTERVAL_MS_MIN: u64 = 10;
/// Longest patience with a critical instance: 31 days.
const DEREGISTER_AFTER_SECONDS_MAX: u64 = 2_678_400;
/// Longest interval and timeout: a day.
const INTERVAL_MS_MAX: u64 = 86_400_000;

/// One probe of an instance, again and again. Exactly one kind (`http`, `tcp`, …) is set.
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
    /// The same while a run of results that contradicts the opinion is short of `rise` or `fall`: no longer than
    /// `interval_ms`. None: no quicker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge_interval_ms: Option<u64>,
    /// Successes in a row until the opinion is `passing`.
    #[serde(default = "one")]
    pub rise: u32,
    /// Failures in a row until the opinion is `critical`.
    #[serde(default = "two")]
    pub fall: u32,
    /// Flap damping. None: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap: Option<Flap>,
    /// An instance that is critical by this check for so long is deregistered. None: never. 1 to 2,678,400 (31 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deregister_after_seconds: Option<u64>,
    /// Which addresses of a host name are tried.
    #[serde(default, skip_serializing_if = "IpProtocol::is_any")]
    pub ip_protocol: IpProtocol,
    /// With `ip_protocol`: take an address of the other protocol when there is none of this.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub ip_protocol_fallback: bool,
    /// The collector's own address to probe from: kinds that connect only. None: the system chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip_address: Option<IpAddr>,
    /// Keep the connection for the next probe: kinds `http`, `grpc`, and `dns` by TCP or TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reuse: bool,
    /// Expressions in CEL over what was seen, which must all be true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<String>,
    /// Ask by HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Box<HttpCheck>>,
    /// Connect, and perhaps talk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Box<TcpCheck>>,
    /// Look at the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Box<TlsCheck>>,
    /// Open a WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket: Option<Box<WebSocketCheck>>,
    /// Connect to a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<Box<UnixCheck>>,
    /// Ask gRPC's health service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Box<GrpcCheck>>,
    /// Ask a DNS server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Box<DnsCheck>>,
    /// Send an echo request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Box<IcmpCheck>>,
    /// Run a local program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Box<ScriptCheck>>,
    /// Ask an etcd's member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Box<EtcdCheck>>,
    /// The service reports itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Box<TtlCheck>>,
    /// As another check, instance or service is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Box<AliasCheck>>,
}

/// When a check flaps: by the weighted share of changes among its last 21 results, as Nagios counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flap {
    /// It flaps from this share of changes on.
    pub high_percent: u8,
    /// And no more below this one.
    pub low_percent: u8,
}

impl Default for Flap {
    fn default() -> Self {
        Self { high_percent: 30, low_percent: 20 }
    }
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
/// Which addresses of a host name are tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpProtocol {
    /// All, one after the other, in the resolver's order.
    #[default]
    Any,
    /// The first of IPv4.
    Ip4,
    /// The first of IPv6.
    Ip6,
}

impl IpProtocol {
    fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

fn yes() -> bool {
    true
}
fn is_true(value: &bool) -> bool {
    *value
}

/// Why a check is refused.
#[derive(Debug, Error, PartialEq)]
pub enum CheckError {
    /// Its name cannot be a key segment.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No kind, or more than one.
    #[error("{}: set exactly one of {}", set(.0), Kind::NAMES.join(", "))]
    Kind(Vec<&'static str>),
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
    /// A field that says what it may not.
    #[error("{field} is {value:?}: {remedy}")]
    Field {
        /// The field, with its kind: `dns.query`.
        field: &'static str,
        /// What it says.
        value: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The path lacks its slash.
    #[error("http.path is {0:?}: begin it with /")]
    Path(String),
}

/// `no kind is set`, or `http and tcp are set`.
fn set(kinds: &[&str]) -> String {
    if kinds.is_empty() {
        "no kind is set".to_owned()
    } else {
        format!("{} are set", kinds.join(" and "))
    }
}

impl CheckError {
    /// [`CheckError::Range`], unless `value` is within the range.
    ///
    /// # Errors
    /// When it is not.
    pub fn range(field: &'static str, value: u64, min: u64, max: u64) -> Result<(), Self> {
        if (min..=max).contains(&value) {
            Ok(())
        } else {
            Err(Self::Range { field, value, min, max })
        }
    }
}

impl Default for Check {
    /// A check without a name and without a kind: to be completed.
    fn default() -> Self {
        Self {
            name: String::new(),
            interval_ms: interval_ms(),
            timeout_ms: timeout_ms(),
            rise: one(),
            edge_interval_ms: None,
            flap: None,
            deregister_after_seconds: None,
            fall: two(),
            ip_protocol: IpProtocol::Any,
            ip_protocol_fallback: yes(),
            source_ip_address: None,
            reuse: false,
            assertions: Vec::new(),
            http: None,
            tcp: None,
            tls: None,
            websocket: None,
            unix: None,
            grpc: None,
            dns: None,
            icmp: None,
            script: None,
            etcd: None,
            ttl: None,
            alias: None,
        }
    }
}

impl Check {
    /// What it does; none when no kind is set.
    #[must_use]
    pub fn kind(&self) -> Option<Kind<'_>> {
        self.kinds().next()
    }

    /// The kind's name (`http`, `tcp`, …), for labels.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        self.kind().map_or("none", |kind| kind.name())
    }

    /// Checks ranges and that exactly one kind is set. Regular expressions are compiled by the collector.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), CheckError> {
        check_name("check", &self.name)?;
        let kinds: Vec<_> = self.kinds().collect();
        let [kind] = kinds[..] else {
            return Err(CheckError::Kind(kinds.iter().map(Kind::name).collect()));
        };
        let Flap { high_percent: high, low_percent: low } = self.flap.unwrap_or_default();
        for (field, value, min, max) in [
            ("interval_ms", self.interval_ms, INTERVAL_MS_MIN, INTERVAL_MS_MAX),
            (
                "edge_interval_ms",
                self.edge_interval_ms.unwrap_or(self.interval_ms),
                INTERVAL_MS_MIN,
                self.interval_ms,
            ),
            ("timeout_ms", self.timeout_ms, 1, INTERVAL_MS_MAX),
            ("rise", u64::from(self.rise), 1, 1000),
            ("fall", u64::from(self.fall), 1, 1000),
            (
                "deregister_after_seconds",
                self.deregister_after_seconds.unwrap_or(1),
                1,
                DEREGISTER_AFTER_SECONDS_MAX,
            ),
            ("flap.high_percent", high.into(), 1, 100),
            ("flap.low_percent", low.into(), 1, high.into()),
        ] {
            CheckError::range(field, value, min, max)?;
        }
        if self.reuse && !kind.settings().reuses() {
            return Err(CheckError::Field {
                field: "reuse",
                value: "true".to_owned(),
                remedy: "only http, grpc, and dns by tcp or tls keep a connection; leave it out",
            });
        }
        if let Some(address) = self.source_ip_address.filter(|_| !kind.settings().connects()) {
            return Err(CheckError::Field {
                field: "source_ip_address",
                value: address.to_string(),
                remedy: "a check of this kind connects to nothing; leave it out",
            });
        }
        kind.settings().validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(json: &str) -> String {
        let check: Check = serde_json::from_str(json).expect("a check");
        check.validate().map_or_else(|error| error.to_string(), |()| check.kind_name().to_owned())
    }

    #[test]
    fn only_what_has_a_connection_keeps_it_or_says_from_where() {
        for (json, good) in [
            (r#"{"name":"c","reuse":true,"http":{}}"#, true),
            (r#"{"name":"c","reuse":true,"grpc":{}}"#, true),
            (r#"{"name":"c","reuse":true,"dns":{"query_name":".","transport":"tcp"}}"#, true),
            (r#"{"name":"c","reuse":true,"dns":{"query_name":"."}}"#, false),
            (r#"{"name":"c","reuse":true,"tcp":{}}"#, false),
            (r#"{"name":"c","source_ip_address":"127.0.0.1","tcp":{}}"#, true),
            (r#"{"name":"c","source_ip_address":"::1","icmp":{}}"#, true),
            (r#"{"name":"c","source_ip_address":"::1","alias":{"service":"s"}}"#, false),
            (r#"{"name":"c","source_ip_address":"::1","http":{"unix_socket":"/s"}}"#, false),
        ] {
            let said = judge(json);
            assert_eq!(!said.contains("leave it out"), good, "{json}: {said}");
        }
    }

    #[test]
    fn exactly_one_kind_is_set() {
        let all = Kind::NAMES.join(", ");
        for (json, words) in [
            (r#"{"name":"c","http":{}}"#, "http".to_owned()),
            (r#"{"name":"c","tcp":{}}"#, "tcp".to_owned()),
            (r#"{"name":"c"}"#, format!("no kind is set: set exactly one of {all}")),
            (
                r#"{"name":"c","tcp":{},"http":{}}"#,
                format!("http and tcp are set: set exactly one of {all}"),
            ),
        ] {
            assert_eq!(judge(json), words, "{json}");
        }
    }
}
