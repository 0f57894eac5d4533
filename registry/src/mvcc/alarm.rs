//! Alarms: raised by members, kept in the state, and what is refused as long as one is.

use bytes::Bytes;

use super::{
    refusal::Refusal,
    view::{ALARM, Table, View, ViewError},
};
use crate::schema::{Body, Op, OpKind, Txn};

/// A member's disk is nearly full (etcd: `AlarmType.NOSPACE`).
pub(crate) const NO_SPACE: u32 = 1;
/// A member's data differs from that of the majority (etcd: `AlarmType.CORRUPT`).
pub(crate) const CORRUPT: u32 = 2;

/// Kinds that there are.
const KINDS: [u32; 2] = [NO_SPACE, CORRUPT];

/// The key of an alarm in [`Table::Meta`].
pub(super) fn alarm_key(kind: u32, member: u64) -> Bytes {
    let kind = u8::try_from(kind).unwrap_or(u8::MAX);
    [ALARM, &[kind], &member.to_be_bytes()].concat().into()
}

/// Every alarm that is raised: kind and member.
pub(crate) fn alarms(view: &impl View) -> Result<Vec<(u32, u64)>, ViewError> {
    let end = [&ALARM[..ALARM.len() - 1], b"0"].concat();
    let rows = view.scan(Table::Meta, ALARM, Some(&end));
    rows.map(|row| {
        let (key, _) = row?;
        let (kind, member) = key[ALARM.len()..]
            .split_first()
            .ok_or_else(|| ViewError::new(Table::Meta, "an alarm's key is too short"))?;
        let member = member
            .try_into()
            .map_err(|_| ViewError::new(Table::Meta, "an alarm's key names no member"))?;
        Ok((u32::from(*kind), u64::from_be_bytes(member)))
    })
    .collect()
}

/// Why a command is refused while these alarms (bits, as in `Applied`) are raised: without space whatever may add to the
/// state; in a corrupt cluster whatever changes it (etcd: `applierV3Capped`, `applierV3Corrupt`).
pub(crate) fn refused_by(alarms: u32, body: &Body) -> Option<Refusal> {
    if alarms == 0 {
        return None;
    }
    let raised = |kind| KINDS.contains(&kind) && alarms & (1 << kind) != 0;
    match body {
        Body::Txn(_) | Body::Grant(_) | Body::Revoke(_) | Body::Compact(_) if raised(CORRUPT) => {
            Some(Refusal::Corrupt)
        }
        Body::Grant(_) if raised(NO_SPACE) => Some(Refusal::NoSpace),
        Body::Txn(txn) if raised(NO_SPACE) && puts(txn) => Some(Refusal::NoSpace),
        _ => None,
    }
}

/// Whether any branch puts.
fn puts(txn: &Txn) -> bool {
    txn.success.iter().chain(&txn.failure).any(|Op { kind }| match kind {
        Some(OpKind::Put(_)) => true,
        Some(OpKind::Txn(inner)) => puts(inner),
        Some(OpKind::Range(_) | OpKind::Delete(_)) | None => false,
    })
}
