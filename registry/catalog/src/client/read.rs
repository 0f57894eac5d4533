//! Reading keys, linearizably or as they were.

use bytes::Bytes;
use watchkeep_api::etcdserverpb::RangeRequest;

use super::{Client, ClientError, KeyValue, RETRY_FOR, kv, prefix_end};

impl Client {
    /// The key, read linearizably.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn get(&self, key: &str) -> Result<Option<KeyValue>, ClientError> {
        let request =
            RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..Default::default() };
        let (mut kvs, _) = self.range(&format!("get {key}"), request).await?;
        Ok(kvs.pop())
    }

    /// Every key that begins with `prefix`, in order, and the revision they were read at.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn list(&self, prefix: &str) -> Result<(Vec<KeyValue>, i64), ClientError> {
        let request = RangeRequest {
            key: Bytes::copy_from_slice(prefix.as_bytes()),
            range_end: prefix_end(prefix.as_bytes()),
            ..Default::default()
        };
        self.range(&format!("list {prefix}"), request).await
    }

    /// Every key that begins with `prefix`, in order, without their values.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn list_keys(&self, prefix: &str) -> Result<Vec<String>, ClientError> {
        let request = RangeRequest {
            key: Bytes::copy_from_slice(prefix.as_bytes()),
            range_end: prefix_end(prefix.as_bytes()),
            keys_only: true,
            ..Default::default()
        };
        let (kvs, _) = self.range(&format!("list keys {prefix}"), request).await?;
        Ok(kvs.into_iter().map(|kv| kv.key).collect())
    }

    /// The key as it was at `revision`.
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time; [`ClientError::is_compacted`] when it has forgotten it.
    pub async fn get_at(&self, key: &str, revision: i64) -> Result<Option<KeyValue>, ClientError> {
        let key_bytes = Bytes::copy_from_slice(key.as_bytes());
        let request = RangeRequest { key: key_bytes, revision, ..Default::default() };
        let (mut kvs, _) = self.range(&format!("get {key} at {revision}"), request).await?;
        Ok(kvs.pop())
    }

    /// Every key that began with `prefix` at `revision`, in order.
    ///
    /// # Errors
    /// As [`Self::get_at`].
    pub async fn list_at(&self, prefix: &str, revision: i64) -> Result<Vec<KeyValue>, ClientError> {
        let request = RangeRequest {
            key: Bytes::copy_from_slice(prefix.as_bytes()),
            range_end: prefix_end(prefix.as_bytes()),
            revision,
            ..Default::default()
        };
        Ok(self.range(&format!("list {prefix} at {revision}"), request).await?.0)
    }

    pub(super) async fn range(
        &self,
        what: &str,
        request: RangeRequest,
    ) -> Result<(Vec<KeyValue>, i64), ClientError> {
        let answer = self
            .retry(what, RETRY_FOR, |channel| {
                let request = request.clone();
                async move { kv(channel).range(request).await }
            })
            .await?
            .into_inner();
        let revision = answer.header.map_or(0, |h| h.revision);
        Ok((answer.kvs.into_iter().map(KeyValue::from).collect(), revision))
    }
}
