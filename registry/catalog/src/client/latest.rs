//! What was created last under a prefix, a page at a time: the registry sorts, and only the page travels.

use bytes::Bytes;
use watchkeep_api::etcdserverpb::{
    RangeRequest,
    range_request::{SortOrder, SortTarget},
};

use super::{Client, ClientError, KeyValue, prefix_end};

/// A page of what was created last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// The latest first. Keys of one transaction are on one page, which is that much longer.
    pub kvs: Vec<KeyValue>,
    /// Whether there are older ones.
    pub more: bool,
}

impl Client {
    /// The `limit` (0: all) keys that begin with `prefix` and were created last, of those created before revision
    /// `before` (none: of all).
    ///
    /// # Errors
    /// When the registry refuses or nobody answers in time.
    pub async fn list_latest(
        &self,
        prefix: &str,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Latest, ClientError> {
        // In a request 0 means no bound.
        let newest = before.map_or(0, |before| before.saturating_sub(1));
        if before.is_some() && newest < 1 {
            return Ok(Latest { kvs: Vec::new(), more: false });
        }
        // One more than the page shows whether there are older ones.
        let most = if limit == 0 { 0 } else { limit.saturating_add(1) };
        let request = RangeRequest {
            key: Bytes::copy_from_slice(prefix.as_bytes()),
            range_end: prefix_end(prefix.as_bytes()),
            limit: i64::try_from(most).unwrap_or(0),
            max_create_revision: newest,
            sort_order: SortOrder::Descend.into(),
            sort_target: SortTarget::Create.into(),
            ..Default::default()
        };
        let what = format!("list the latest of {prefix}");
        let (mut kvs, _) = self.range(&what, request.clone()).await?;
        let more = limit > 0 && kvs.len() > limit;
        if !more {
            return Ok(Latest { kvs, more });
        }
        let behind = kvs.split_off(limit);
        let last = kvs.last().map_or(0, |kv| kv.create_revision);
        if behind.first().is_some_and(|kv| kv.create_revision == last) {
            // One transaction created more than there is room for: whoever asks for what came before it must miss none.
            let one = RangeRequest {
                limit: 0,
                min_create_revision: last,
                max_create_revision: last,
                ..request
            };
            kvs.retain(|kv| kv.create_revision != last);
            kvs.extend(self.range(&what, one).await?.0);
        }
        Ok(Latest { kvs, more })
    }
}
