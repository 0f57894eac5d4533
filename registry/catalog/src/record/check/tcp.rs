//! A check that connects by TCP.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind};

/// A TCP connection that only has to be accepted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpCheck {
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl CheckKind for TcpCheck {
    fn port(&self) -> Option<u16> {
        self.port
    }

    fn validate(&self) -> Result<(), CheckError> {
        Ok(())
    }
}
