//! A small etcd v3 client: what Watchkeep's rooms need and no more.
//!
//! It speaks to one endpoint at a time and moves on to the next when that one is unavailable. Reads and
//! puts are tried again for [`RETRY_FOR`]; a transaction is not, since it may have been applied.

use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tonic::Code;
use watchkeep_api::{
    etcdserverpb::{DeleteRangeRequest, PutRequest, kv_client::KvClient},
    mvccpb,
};

mod endpoints;
mod error;
mod feed;
mod follow;
mod latest;
mod lease;
mod login;
mod members;
mod raw;
mod read;
mod renew;
mod snapshot;
mod tls;
mod transport;
mod txn;
mod users;

use endpoints::Endpoints;
pub use error::ClientError;
use feed::Feed;
pub use follow::{Batch, Change, Changes};
pub use latest::Latest;
pub use lease::HeldLease;
pub use login::Credentials;
use login::{LOGINS_MAX, Link, Login};
pub use members::{RegistryMember, RegistryMembers};
pub(crate) use raw::RawWatch;
pub use renew::Renewer;
pub use snapshot::Snapshot;
pub use tls::ClientTlsConfig;
pub use transport::OwnMember;
pub use txn::{Compare, Op, OpOutcome, Txn, TxnOutcome};
pub use users::{Access, KeyRange, Permission};

/// How long reads and puts are tried again while no endpoint answers.
pub const RETRY_FOR: Duration = Duration::from_secs(5);
/// How long one endpoint may take to answer before the next is asked.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A key with its value and revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// Revision of its creation: a fencing token.
    pub create_revision: i64,
    /// Revision of its latest change.
    pub mod_revision: i64,
    /// Number of puts since its creation.
    pub version: i64,
    /// Its lease; 0: none.
    pub lease: i64,
}

impl KeyValue {
    /// The value read as JSON.
    ///
    /// # Errors
    /// When it is not a `T`; the error names the key.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.value)
            .map_err(|e| ClientError::Decode { key: self.key.clone(), message: e.to_string() })
    }
}

impl From<mvccpb::KeyValue> for KeyValue {
    fn from(kv: mvccpb::KeyValue) -> Self {
        Self {
            key: String::from_utf8_lossy(&kv.key).into_owned(),
            value: kv.value,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}

/// The client. Cheap to clone; all clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    endpoints: Endpoints,
    login: Login,
    feed: Feed,
}

impl Client {
    /// A client of these endpoints (`http://host:port`, or `https://` under the public authorities), the preferred one
    /// first. Connects on first use.
    ///
    /// # Errors
    /// When there is no endpoint or one is not a URL.
    pub fn new(endpoints: &[String]) -> Result<Self, ClientError> {
        Self::with_tls(endpoints, &ClientTlsConfig::default())
    }

    /// The same with these authorities and this certificate where an endpoint is `https://`. Reads the files, and again
    /// before it connects anew.
    ///
    /// # Errors
    /// When there is no endpoint, one is not a URL, or a file is of no use.
    pub fn with_tls(endpoints: &[String], tls: &ClientTlsConfig) -> Result<Self, ClientError> {
        let endpoints = Endpoints::new(endpoints, tls)?;
        Ok(Self { endpoints, login: Login::default(), feed: Feed::default() })
    }

    /// The same client as a user of the registry. It logs in when it first has to; where users are not checked, it is
    /// nobody in particular.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { login: Login::new(credentials), feed: Feed::default(), ..self }
    }

    /// The same client where the member behind the endpoint `url` runs in this process: its calls need no connection, and
    /// run on the threads of whoever calls. Without an endpoint of that name nothing changes.
    #[must_use]
    pub fn with_own_member(self, url: &str, member: &OwnMember) -> Self {
        let endpoints = self.endpoints.with_own(url, member);
        Self { endpoints, feed: Feed::default(), ..self }
    }

    /// Runs `call` on one endpoint after the other until one answers or [`RETRY_FOR`] is over; each gets `limit`.
    async fn retry<T, F, A>(&self, what: &str, limit: Duration, call: F) -> Result<T, ClientError>
    where
        F: Fn(Link) -> A,
        A: Future<Output = Result<T, tonic::Status>>,
    {
        let deadline = Instant::now() + RETRY_FOR;
        let mut logins = 0;
        loop {
            let (at, channel) = self.endpoints.current();
            let attempt = async { call(self.login.link(channel).await?).await };
            let status = match tokio::time::timeout(limit, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_) => no_answer(limit),
            };
            if self.login.is_over(&status) && logins < LOGINS_MAX {
                logins += 1;
                continue;
            }
            if !is_passing(&status) || Instant::now() >= deadline {
                return Err(self.endpoints.error(at, what, &status));
            }
            self.endpoints.rotate(at);
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Writes the key under `lease` (0: none); answers with the new revision.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn put(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        lease: i64,
    ) -> Result<i64, ClientError> {
        let request = PutRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: value.into(),
            lease,
            ..Default::default()
        };
        let answer = self
            .retry(&format!("put {key}"), ATTEMPT, |channel| {
                let request = request.clone();
                async move { kv(channel).put(request).await }
            })
            .await?;
        Ok(answer.into_inner().header.map_or(0, |h| h.revision))
    }

    /// Writes a record as JSON.
    ///
    /// # Errors
    /// As [`Self::put`], or when the record has no JSON form.
    pub async fn put_json<T: Serialize>(
        &self,
        key: &str,
        record: &T,
        lease: i64,
    ) -> Result<i64, ClientError> {
        self.put(key, encode(key, record)?, lease).await
    }

    /// Deletes the key; false when there was none.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn delete(&self, key: &str) -> Result<bool, ClientError> {
        let request = DeleteRangeRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..Default::default()
        };
        let answer = self
            .retry(&format!("delete {key}"), ATTEMPT, |channel| {
                let request = request.clone();
                async move { kv(channel).delete_range(request).await }
            })
            .await?;
        Ok(answer.into_inner().deleted > 0)
    }

    /// Puts and deletes, all at one revision, which it answers with; tried again as a put is.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn write(&self, ops: Vec<Op>) -> Result<i64, ClientError> {
        let what = format!("write {} keys", ops.len());
        let request = ops.into_iter().fold(Txn::new(), Txn::then).into_request();
        let answer = self
            .retry(&what, ATTEMPT, |channel| {
                let request = request.clone();
                async move { kv(channel).txn(request).await }
            })
            .await?;
        Ok(answer.into_inner().header.map_or(0, |h| h.revision))
    }

    /// Runs a transaction, once: an error may mean that it was applied all the same.
    ///
    /// # Errors
    /// When the registry refuses or the endpoint does not answer.
    pub async fn txn(&self, txn: Txn) -> Result<TxnOutcome, ClientError> {
        let (request, mut logins) = (txn.into_request(), 0);
        loop {
            let (at, channel) = self.endpoints.current();
            let (login, request) = (&self.login, request.clone());
            let asked = async { kv(login.link(channel).await?).txn(request).await };
            let asked = tokio::time::timeout(RETRY_FOR, asked).await;
            let status = match asked.unwrap_or_else(|_| Err(no_answer(RETRY_FOR))) {
                Ok(answer) => return Ok(TxnOutcome::from(answer.into_inner())),
                Err(status) => status,
            };
            // What was refused for its token was not applied.
            if login.is_over(&status) && logins < LOGINS_MAX {
                logins += 1;
                continue;
            }
            if is_passing(&status) {
                self.endpoints.rotate(at);
            }
            return Err(self.endpoints.error(at, "txn", &status));
        }
    }
}

fn no_answer(limit: Duration) -> tonic::Status {
    tonic::Status::unavailable(format!("no answer within {} ms", limit.as_millis()))
}

/// Whether another try, perhaps elsewhere, may succeed.
fn is_passing(status: &tonic::Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Cancelled)
        || (status.code() == Code::Unknown && std::error::Error::source(status).is_some())
}

fn kv(link: Link) -> KvClient<Link> {
    KvClient::new(link).max_decoding_message_size(usize::MAX)
}

fn encode<T: Serialize>(key: &str, record: &T) -> Result<Bytes, ClientError> {
    serde_json::to_vec(record)
        .map(Bytes::from)
        .map_err(|e| ClientError::Encode { key: key.to_owned(), message: e.to_string() })
}

/// The first key behind all that begin with `prefix`; `"\0"` (no end) when there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    Bytes::from_static(b"\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ends() {
        for (prefix, end) in
            [(&b"a/"[..], &b"a0"[..]), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")]
        {
            assert_eq!(prefix_end(prefix), end);
        }
    }
}
