//! A check of a WebSocket (RFC 6455).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Authorization, BasicAuth, CheckError, CheckKind, TlsSettings};

/// `ws` or `wss`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebSocketScheme {
    /// Plain.
    #[default]
    Ws,
    /// Over TLS.
    Wss,
}

/// A handshake, and perhaps a message each way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketCheck {
    /// Plain or TLS.
    #[serde(default)]
    pub scheme: WebSocketScheme,
    /// Path and query.
    #[serde(default = "slash")]
    pub path: String,
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Sent with the handshake; `host` replaces the one made of address and port.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Protocols that are offered; with any, the server must choose one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<String>,
    /// How TLS is spoken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: TlsSettings,
    /// User and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// A token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// A text message that is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// A regular expression that one of the messages that follow must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
}

fn slash() -> String {
    "/".to_owned()
}
fn is_default(settings: &TlsSettings) -> bool {
    *settings == TlsSettings::default()
}

impl CheckKind for WebSocketCheck {
    fn port(&self) -> Option<u16> {
        self.port
    }

    fn validate(&self) -> Result<(), CheckError> {
        let wrong = |field, value: &str, remedy| {
            Err(CheckError::Field { field, value: value.to_owned(), remedy })
        };
        if !self.path.starts_with('/') || self.path.contains([' ', '\r', '\n']) {
            return wrong("websocket.path", &self.path, "begin it with /, without spaces");
        }
        if self.basic_auth.is_some() && self.authorization.is_some() {
            let remedy = "give basic_auth or authorization, not both";
            return wrong("websocket.authorization", "set", remedy);
        }
        self.tls.validate()
    }
}
