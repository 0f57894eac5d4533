//! Secrets read from files. They have no way into a log, an error or an answer.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};

/// Longest secret file: more is surely the wrong file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Standard Webhooks' prefix of a base64 secret.
const PREFIX: &str = "whsec_";

/// A secret. `Debug` shows that there is one and no more.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// Reads the file and takes off white space at its end; what begins with `whsec_` is base64.
    ///
    /// # Errors
    /// What is wrong with the file, in words that do not quote its content.
    pub(crate) fn read(path: &str) -> Result<Self, String> {
        let unreadable = |e: std::io::Error| {
            format!("cannot read {path}: {e}; create it, readable for Watchkeep's user")
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > SECRET_BYTES_MAX {
            return Err(format!(
                "{path} has {size} bytes: a secret has at most {SECRET_BYTES_MAX}"
            ));
        }
        let content = std::fs::read(path).map_err(unreadable)?;
        let content = content.trim_ascii();
        if content.is_empty() {
            return Err(format!("{path} is empty: write the secret into it"));
        }
        match content.strip_prefix(PREFIX.as_bytes()) {
            Some(encoded) => match STANDARD.decode(encoded) {
                // Whatever is signed with nothing, anybody signs.
                Ok(secret) if secret.is_empty() => {
                    Err(format!("{path} has nothing behind {PREFIX}: write the secret into it"))
                }
                Ok(secret) => Ok(Self(secret)),
                Err(_) => Err(format!("{path} begins with {PREFIX} but is not base64 behind it")),
            },
            None => Ok(Self(content.to_vec())),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text, for a password.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub(crate) fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.0).map_err(|_| "the password is not UTF-8".to_owned())
    }
}

/// What signs: the secret, and while it is replaced the one that follows. Receivers take what either of them signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys(Vec<Secret>);

impl Keys {
    /// None where neither is named.
    ///
    /// # Errors
    /// As [`Secret::read`].
    pub(crate) fn read(file: Option<&str>, next: Option<&str>) -> Result<Option<Self>, String> {
        let keys: Vec<Secret> =
            file.into_iter().chain(next).map(Secret::read).collect::<Result<_, _>>()?;
        Ok((!keys.is_empty()).then_some(Self(keys)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_hides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let path = path.to_str().unwrap();
        for (content, secret) in [
            ("top\n", Ok(&b"top"[..])),
            ("whsec_dG9w\n", Ok(b"top")),
            ("whsec_%%%", Err("not base64")),
            ("whsec_\n", Err("nothing behind whsec_")),
            (" \n", Err("is empty")),
        ] {
            std::fs::write(path, content).unwrap();
            match (Secret::read(path), secret) {
                (Ok(read), Ok(expected)) => {
                    assert_eq!(read.bytes(), expected);
                    assert!(!format!("{read:?}").contains("top"));
                }
                (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
                other => panic!("{content:?}: {other:?}"),
            }
        }
        assert!(Secret::read("/nonexistent/secret").unwrap_err().contains("cannot read"));
    }
}
