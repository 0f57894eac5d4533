//! How tokens are made: remembered on every member, or signed.

use thiserror::Error;

use crate::auth::{
    jwt::{Jwt, OptionsError},
    tokens::{self, SimpleTokens},
};

/// How tokens are made.
pub(crate) enum Provider {
    /// Remembered on every member.
    Simple(SimpleTokens),
    /// Signed.
    Jwt(Box<Jwt>),
}

impl Provider {
    /// By etcd's option: `simple`, or `jwt,sign-method=…,…`.
    pub(crate) fn new(option: &str) -> Result<Self, ProviderError> {
        match option.split_once(',').unwrap_or((option, "")) {
            ("simple", "") => Ok(Self::Simple(SimpleTokens::default())),
            ("jwt", options) => Ok(Self::Jwt(Box::new(Jwt::new(options)?))),
            _ => Err(ProviderError::Unknown(option.to_owned())),
        }
    }
}

/// What is wrong with the option.
#[derive(Debug, Error)]
pub(crate) enum ProviderError {
    /// Neither of the two.
    #[error(
        "{0:?} is not known: give simple, or jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m"
    )]
    Unknown(String),
    /// A signed token's.
    #[error(transparent)]
    Jwt(#[from] OptionsError),
}

/// A token that nobody knows yet.
pub(crate) enum NewToken {
    /// The random word.
    Simple(String),
    /// The whole.
    Signed(String),
}

impl NewToken {
    /// What the log has of it.
    pub(crate) fn hash(&self) -> bytes::Bytes {
        match self {
            Self::Simple(word) => tokens::hash(word),
            Self::Signed(_) => bytes::Bytes::new(),
        }
    }

    /// What the client gets, when its login is at `index` of the log.
    pub(crate) fn token(self, index: u64) -> String {
        match self {
            Self::Simple(word) => format!("{word}.{index}"),
            Self::Signed(token) => token,
        }
    }
}
