//! Passwords: bcrypt, on threads of their own, a few at a time. It is slow on purpose.

use base64::{Engine, engine::general_purpose::STANDARD};
use bcrypt::BcryptError;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::Semaphore;

/// Passwords hashed at once: the cores are for the log too.
const HASHING_MAX: usize = 2;
/// Passwords that wait for that; more are told to come back.
const WAITING_MAX: usize = 256;
/// bcrypt looks at no more.
const PASSWORD_BYTES_MAX: usize = 72;

/// Why a password is no use.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum PasswordError {
    /// Too long: Go's words, which etcd passes on.
    #[error("bcrypt: password length exceeds 72 bytes")]
    TooLong,
    /// The hash that a client sent is none.
    #[error("watchkeep: hashed_password is not a bcrypt hash in base64")]
    NotAHash,
    /// Too many wait.
    #[error("etcdserver: too many requests")]
    TooMany,
    /// The thread that hashed it was lost.
    #[error("watchkeep: the password could not be hashed: {0}")]
    Failed(String),
}

/// Hashes and compares passwords.
pub(crate) struct Passwords {
    cost: u32,
    hashing: Semaphore,
    waiting: Semaphore,
}

impl Passwords {
    /// With bcrypt's `cost`, 4 to 31.
    pub(crate) fn new(cost: u32) -> Self {
        Self { cost, hashing: Semaphore::new(HASHING_MAX), waiting: Semaphore::new(WAITING_MAX) }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _waiting = self.waiting.try_acquire().map_err(|_| PasswordError::TooMany)?;
        let _hashing = self.hashing.acquire().await;
        let joined = tokio::task::spawn_blocking(work).await;
        joined.map_err(|error| PasswordError::Failed(error.to_string()))?
    }

    /// The hash of a password.
    pub(crate) async fn hash(&self, password: String) -> Result<Bytes, PasswordError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(PasswordError::TooLong);
        }
        let cost = self.cost;
        let failed = |error: BcryptError| PasswordError::Failed(error.to_string());
        self.run(move || bcrypt::hash(password, cost).map(Bytes::from).map_err(failed)).await
    }

    /// The hash that a client has made itself.
    pub(crate) fn given(hashed: &str) -> Result<Bytes, PasswordError> {
        let hash = STANDARD.decode(hashed).map_err(|_| PasswordError::NotAHash)?;
        let text = std::str::from_utf8(&hash).map_err(|_| PasswordError::NotAHash)?;
        text.parse::<bcrypt::HashParts>().map_err(|_| PasswordError::NotAHash)?;
        Ok(hash.into())
    }

    /// Whether the password has this hash.
    pub(crate) async fn matches(
        &self,
        password: String,
        hash: Bytes,
    ) -> Result<bool, PasswordError> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        self.run(move || {
            let hash = String::from_utf8_lossy(&hash);
            Ok(bcrypt::verify(password, &hash).unwrap_or(false))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_has_its_hash_and_no_other() {
        let passwords = Passwords::new(4);
        let hash = passwords.hash("secret".to_owned()).await.expect("it is hashed");
        assert_ne!(&hash[..], b"secret");
        assert_eq!(passwords.matches("secret".to_owned(), hash.clone()).await, Ok(true));
        assert_eq!(passwords.matches("Secret".to_owned(), hash.clone()).await, Ok(false));
        assert_eq!(passwords.matches("secret".to_owned(), Bytes::new()).await, Ok(false));
        let long = "x".repeat(73);
        assert_eq!(passwords.hash(long.clone()).await, Err(PasswordError::TooLong));
        assert_eq!(passwords.matches(long, hash.clone()).await, Ok(false));
        assert_eq!(Passwords::given(&STANDARD.encode(&hash)), Ok(hash));
        for wrong in ["", "%", "c2VjcmV0"] {
            assert_eq!(Passwords::given(wrong), Err(PasswordError::NotAHash), "{wrong:?}");
        }
    }

    /// What Go's bcrypt wrote is read: hashes come along when an etcd moves in.
    #[tokio::test]
    async fn hashes_of_etcd_are_read() {
        let hash = "$2a$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        let passwords = Passwords::new(4);
        assert_eq!(passwords.matches("nothing like it".to_owned(), hash.into()).await, Ok(false));
        assert!(Passwords::given(&STANDARD.encode(hash)).is_ok());
    }
}
