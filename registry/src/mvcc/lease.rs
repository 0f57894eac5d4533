//! Leases in the state: granted, attached to keys, revoked. How much of a TTL is left is the lessor's matter.

use bytes::Bytes;

use super::{
    keys::{lease_key, lease_of},
    view::{Table, View, ViewError, decode},
};
use crate::schema::Lease;

/// All leases.
pub(crate) fn leases(view: &impl View) -> Result<Vec<(i64, Lease)>, ViewError> {
    view.scan(Table::Leases, b"", None)
        .map(|row| {
            let (key, value) = row?;
            let id = lease_of(&key)
                .ok_or_else(|| ViewError::new(Table::Leases, "a key is too short"))?;
            Ok((id, decode(Table::Leases, value)?))
        })
        .collect()
}

/// Whether a key can hang on `lease`; 0 is none.
pub(super) fn lease_exists(view: &impl View, lease: i64) -> Result<bool, ViewError> {
    Ok(lease == 0 || view.get(Table::Leases, &lease_key(lease, b""))?.is_some())
}

/// The keys that hang on a lease.
pub(crate) fn lease_keys(view: &impl View, lease: i64) -> Result<Vec<Bytes>, ViewError> {
    let from = lease_key(lease, b"");
    // In the table negative ids come behind the positive ones: -1 is the last.
    let to = (lease != -1).then(|| lease_key(lease.wrapping_add(1), b""));
    view.scan(Table::LeaseKeys, &from, to.as_deref())
        .map(|row| row.map(|(key, _)| key.slice(8..)))
        .collect()
}
