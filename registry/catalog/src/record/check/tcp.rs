//! A check that connects by TCP, and may talk.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind, TlsSettings};

/// Most steps of a dialogue.
const STEPS_MAX: u64 = 64;

/// A TCP connection that has to be accepted; then TLS, if asked for, and a dialogue of lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpCheck {
    /// Port, when it is not the instance's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether TLS begins with the connection.
    #[serde(default, skip_serializing_if = "is_no")]
    pub tls: bool,
    /// How TLS is spoken, from the start or after a step with `starttls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<TlsSettings>,
    /// What is said and heard, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query_response: Vec<DialogueStep>,
}

/// One step of a dialogue: hear, then say, then TLS; each only if it is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DialogueStep {
    /// A regular expression: lines are read until one matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// A line to send (its end is added); `${1}` and `${name}` stand for groups of `expect`, `$$` for a dollar.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub send: String,
    /// Whether TLS begins now.
    #[serde(skip_serializing_if = "is_no")]
    pub starttls: bool,
}

fn is_no(yes: &bool) -> bool {
    !yes
}

impl CheckKind for TcpCheck {
    fn port(&self) -> Option<u16> {
        self.port
    }

    fn validate(&self) -> Result<(), CheckError> {
        CheckError::range("tcp.query_response", self.query_response.len() as u64, 0, STEPS_MAX)?;
        let upgrades = self.query_response.iter().filter(|step| step.starttls).count();
        if upgrades + usize::from(self.tls) > 1 {
            return Err(CheckError::Field {
                field: "tcp.query_response",
                value: format!("{upgrades} steps with starttls"),
                remedy: "begin TLS once: with tls: true, or with starttls in one step",
            });
        }
        self.tls_config.as_ref().map_or(Ok(()), TlsSettings::validate)
    }
}
