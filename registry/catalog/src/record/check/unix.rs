//! A check that connects to a Unix socket.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind};

/// A Unix socket of the collector's machine that only has to accept a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnixCheck {
    /// Where it lies: in a directory that the collector's `targets.allow` names.
    pub path: String,
}

impl CheckKind for UnixCheck {
    fn connects(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), CheckError> {
        if self.path.starts_with('/') {
            return Ok(());
        }
        let remedy = "give a path that begins with /";
        Err(CheckError::Field { field: "unix.path", value: self.path.clone(), remedy })
    }
}
