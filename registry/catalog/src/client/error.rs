//! Why a call failed, and what follows from that.

use thiserror::Error;
use tonic::Code;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// An endpoint's URL is wrong, or there is none.
    #[error(
        "registry endpoint {endpoint:?}: {message}; write it as http://host:port or https://host:port"
    )]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file of TLS is of no use.
    #[error(transparent)]
    Tls(Box<watchkeep_api::tls::TlsError>),
    /// The registry answered with an error, or nobody answered.
    #[error("{what} at {endpoint}: {message} ({code:?})")]
    Status {
        /// The call and its key.
        what: String,
        /// Who was asked last.
        endpoint: String,
        /// gRPC code.
        code: Code,
        /// Its message.
        message: String,
    },
    /// A record is not what it should be.
    #[error("record at {key}: {message}")]
    Decode {
        /// Its key.
        key: String,
        /// What is wrong.
        message: String,
    },
    /// A record cannot be written as JSON.
    #[error("record for {key}: {message}")]
    Encode {
        /// Its key.
        key: String,
        /// What is wrong.
        message: String,
    },
}

impl ClientError {
    /// The same once more, for another that the same call was to serve.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Status { what, endpoint, code, message } => Self::Status {
                what: what.clone(),
                endpoint: endpoint.clone(),
                code: *code,
                message: message.clone(),
            },
            other => Self::Encode { key: String::new(), message: other.to_string() },
        }
    }

    /// Whether the registry itself refused the call, so that trying again is of no use.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Status {
                code: Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled,
                ..
            }
        )
    }

    /// Whether the registry has no room, or too much to do: what it refuses now it may take later.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        matches!(self, Self::Status { code: Code::ResourceExhausted, .. })
    }

    /// Whether the registry has forgotten the revision that was asked for.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        matches!(self, Self::Status { code: Code::OutOfRange, message, .. } if message.contains("compacted"))
    }
}
