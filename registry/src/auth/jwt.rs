//! Signed tokens (RFC 7519): whoever has the key can tell whose a token is, and nothing is remembered. As etcd's:
//!
//! ```text
//! {"alg":"RS256","typ":"JWT"}.{"username":"ann","revision":7,"exp":1767225600}.signature
//! ```
//!
//! `revision` is that of users and roles at the login. When one of them changes, keys are read and written with that
//! token no more, and its client logs in again.

mod der;
mod keys;
mod options;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};

use keys::Key;
pub(crate) use options::OptionsError;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Makes and reads tokens.
#[derive(Debug)]
pub(crate) struct Jwt {
    algorithm: &'static str,
    key: Key,
    ttl: Duration,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) user: String,
    pub(crate) revision: u64,
}

impl Jwt {
    /// By etcd's options: `sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m`.
    pub(crate) fn new(options: &str) -> Result<Self, OptionsError> {
        options::parse(options)
    }

    /// A token for `user`; none: there is only a public key here.
    pub(crate) fn sign(&self, user: &str, revision: u64, now_seconds: u64) -> Option<String> {
        let header = Header { alg: self.algorithm.to_owned(), typ: "JWT".to_owned() };
        // Seconds since 1970 are far below 2^53.
        let exp = Some((now_seconds + self.ttl.as_secs()) as f64);
        let claims = Claims { username: user.to_owned(), revision, exp, nbf: None };
        let part = |json: serde_json::Result<Vec<u8>>| json.ok().map(|json| BASE64.encode(json));
        let signed = format!(
            "{}.{}",
            part(serde_json::to_vec(&header))?,
            part(serde_json::to_vec(&claims))?
        );
        let signature = self.key.sign(signed.as_bytes())?;
        Some(format!("{signed}.{}", BASE64.encode(signature)))
    }

    /// What a token says, if it is signed by the key and its time is not over.
    pub(crate) fn verify(&self, token: &str, now_seconds: u64) -> Option<Signed> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?;
        // The key decides on the algorithm, never the token.
        if header.alg != self.algorithm {
            return None;
        }
        if !self.key.verifies(signed.as_bytes(), &BASE64.decode(signature).ok()?) {
            return None;
        }
        let claims: Claims = serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()?;
        // Seconds since 1970 are far below 2^53.
        let now = now_seconds as f64;
        let in_time =
            claims.exp.is_none_or(|exp| now < exp) && claims.nbf.is_none_or(|nbf| now >= nbf);
        in_time.then_some(Signed { user: claims.username, revision: claims.revision })
    }
}

#[cfg(test)]
mod tests;
