//! A check that sends an echo request.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind};

/// Most that fits into an IPv4 packet behind its header and ICMP's.
const PAYLOAD_BYTES_MAX: u64 = 65_507;

/// An ICMP echo request to the instance's address (IPv4 or IPv6); good is its echo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IcmpCheck {
    /// Bytes of payload; none: a few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<u16>,
    /// Hops that the request may take; none: what the system says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    /// Whether routers may not split the request (IPv4; with IPv6 they never do). Needs the right to raw sockets.
    #[serde(default)]
    pub dont_fragment: bool,
}

impl CheckKind for IcmpCheck {
    fn validate(&self) -> Result<(), CheckError> {
        let payload = self.payload_bytes.unwrap_or_default();
        CheckError::range("icmp.payload_bytes", payload.into(), 0, PAYLOAD_BYTES_MAX)?;
        CheckError::range("icmp.ttl", self.ttl.unwrap_or(1).into(), 1, 255)
    }
}
