//! Whether both sides are equal: count and hash of keys, values and leases in their order.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{Span, copy::Pages};
use crate::{Client, ClientError};

/// Count and hash of keys with values and leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// Keys.
    pub keys: u64,
    /// Of keys, values and leases, in the keys' order.
    pub hash: u64,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys, hash {:016x}", self.keys, self.hash)
    }
}

/// Of a side at a revision; 0: at the newest.
pub(super) async fn digest(
    client: &Client,
    spans: &[Span],
    revision: i64,
) -> Result<Digest, ClientError> {
    let (mut keys, mut hasher) = (0, DefaultHasher::new());
    for span in spans {
        let mut pages = Pages::new(client, span, revision);
        while let Some(page) = pages.next().await? {
            keys += page.kvs.len() as u64;
            for kv in page.kvs {
                (&kv.key[..], &kv.value[..], kv.lease).hash(&mut hasher);
            }
        }
    }
    Ok(Digest { keys, hash: hasher.finish() })
}
