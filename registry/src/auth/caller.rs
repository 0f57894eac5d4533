//! Who calls: what a request carries to prove it, and what that proves.

use std::sync::Arc;

use http::{Extensions, HeaderMap};

/// The verified certificate of the client on a connection. Who accepts a TLS connection puts it into the extensions
/// of each of its requests; without it, or without a name in it, the connection names nobody.
#[derive(Debug, Clone)]
pub(crate) struct PeerCertificate {
    /// Common Name of its subject.
    pub(crate) common_name: Option<String>,
}

/// What a request carries: a token, or the name in a certificate. Never shown.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    pub(super) token: Option<Arc<str>>,
    pub(super) certificate: Option<Arc<str>>,
}

/// Header of a token; the JSON gateway has it in the other one (etcd: `rpctypes/metadatafields.go`).
const TOKEN_HEADERS: [&str; 2] = ["token", "authorization"];

impl Credentials {
    /// Those of a request.
    pub(crate) fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let header = TOKEN_HEADERS.iter().find_map(|name| headers.get(*name));
        // A header that is no text is still a token, if a wrong one.
        let token = header.map(|value| value.to_str().unwrap_or_default().into());
        let certificate = extensions.get::<PeerCertificate>();
        let name = certificate.and_then(|certificate| certificate.common_name.as_deref());
        Self { token, certificate: name.map(Arc::from) }
    }
}

/// Who calls, at a revision of users and roles.
#[derive(Clone)]
pub(crate) struct Caller {
    /// Empty: nobody.
    pub(super) user: Arc<str>,
    /// The revision at which the user was known: now, or that of a signed token.
    pub(super) revision: u64,
    /// Known by a signed token.
    pub(super) signed: bool,
    /// To be known anew at another revision.
    pub(super) credentials: Credentials,
}

impl Caller {
    /// Nobody in particular: whoever calls while users are not checked.
    pub(super) fn nobody(revision: u64) -> Self {
        Self { user: Arc::default(), revision, signed: false, credentials: Credentials::default() }
    }

    /// The user's name; empty: nobody.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// The user's name, to keep.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.user)
    }

    /// The revision of users and roles at which they call; never 0.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }
}
