//! A check that asks gRPC's health service.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind, TlsSettings};

/// A call of `grpc.health.v1.Health/Check`: good is `SERVING`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcCheck {
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The service asked about; empty: the server as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// TLS; none: plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
}

impl CheckKind for GrpcCheck {
    fn reuses(&self) -> bool {
        true
    }

    fn port(&self) -> Option<u16> {
        self.port
    }

    fn validate(&self) -> Result<(), CheckError> {
        self.tls.as_ref().map_or(Ok(()), TlsSettings::validate)
    }
}
