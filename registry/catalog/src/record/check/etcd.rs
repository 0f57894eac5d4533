//! A check of an etcd: the member that the instance is.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind, Secret, TlsSettings};

/// Most entries that a member may be behind, unless the check says otherwise.
const RAFT_LAG_MAX: u64 = 10_000;

/// An etcd's member: it knows a leader, raises no alarm, lags not too far behind, and takes a write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdCheck {
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Most entries of the log that are committed and not yet applied.
    #[serde(default = "raft_lag_max")]
    pub raft_lag_max: u64,
    /// Largest database; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_bytes_max: Option<u64>,
    /// A key that is written, under a lease of a few times the interval, and read back; none: nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_key: Option<String>,
    /// Who asks; none: nobody in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// TLS; none: plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
}

fn raft_lag_max() -> u64 {
    RAFT_LAG_MAX
}

impl Default for EtcdCheck {
    fn default() -> Self {
        Self {
            port: None,
            raft_lag_max: RAFT_LAG_MAX,
            db_bytes_max: None,
            canary_key: None,
            username: None,
            password: None,
            tls: None,
        }
    }
}

impl CheckKind for EtcdCheck {
    fn port(&self) -> Option<u16> {
        self.port
    }

    fn validate(&self) -> Result<(), CheckError> {
        if self.canary_key.as_deref() == Some("") {
            return Err(CheckError::Field {
                field: "etcd.canary_key",
                value: String::new(),
                remedy: "give a key that nobody else uses, or leave it out",
            });
        }
        if self.username.is_some() != self.password.is_some() {
            return Err(CheckError::Field {
                field: "etcd.username",
                value: self.username.clone().unwrap_or_default(),
                remedy: "give username and password together, or neither",
            });
        }
        self.tls.as_ref().map_or(Ok(()), TlsSettings::validate)
    }
}
