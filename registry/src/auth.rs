//! Who calls, and what they may: users, roles and permissions, tokens, client certificates.

/// The verified certificate of the client on a connection. Who accepts a TLS connection puts it into the extensions
/// of each of its requests; without it, or without a name in it, the connection names nobody.
#[derive(Debug, Clone)]
#[allow(dead_code, reason = "read by the service hooks")]
pub(crate) struct PeerCertificate {
    /// Common Name of its subject.
    pub(crate) common_name: Option<String>,
}
