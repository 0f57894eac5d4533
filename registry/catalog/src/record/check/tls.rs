//! A check of a server's certificate.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind, TlsSettings};

/// Longest time that can be asked for: ten years.
const DAYS_MAX: u32 = 3_650;

/// A TLS handshake, and a certificate that is valid for long enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsCheck {
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How TLS is spoken, and whose certificate is expected.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: TlsSettings,
    /// Days for which every certificate that is shown must still be valid.
    #[serde(default)]
    pub expiry_days_min: u32,
    /// Protocols that are offered (ALPN), such as `h2`; with any, the server must choose one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<String>,
}

fn is_default(settings: &TlsSettings) -> bool {
    *settings == TlsSettings::default()
}

impl CheckKind for TlsCheck {
    fn port(&self) -> Option<u16> {
        self.port
    }

    fn validate(&self) -> Result<(), CheckError> {
        let days = self.expiry_days_min;
        CheckError::range("tls.expiry_days_min", days.into(), 0, DAYS_MAX.into())?;
        if self.alpn.iter().any(|name| name.is_empty() || name.len() > 255) {
            let remedy = "give names of 1 to 255 bytes, such as h2";
            return Err(CheckError::Field { field: "tls.alpn", value: String::new(), remedy });
        }
        self.tls.validate()
    }
}
