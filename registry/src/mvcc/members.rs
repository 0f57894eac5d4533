//! What the state keeps of the members beside Raft's membership: the highest id ever used, and what each says of
//! itself.

use bytes::Bytes;
use prost::Message;

use super::{
    draft::Write,
    view::{Item, LAST_MEMBER_ID, MEMBER, Table, View, ViewError, decode},
};
use crate::schema::{LastMemberId, MemberInfo};

/// What the members say of themselves.
pub(crate) fn members(view: &impl View) -> Result<Vec<MemberInfo>, ViewError> {
    rows(view).map(|row| decode(Table::Meta, row?.1)).collect()
}

fn rows(view: &impl View) -> Box<dyn Iterator<Item = Item> + '_> {
    let end = [&MEMBER[..MEMBER.len() - 1], b"0"].concat();
    view.scan(Table::Meta, MEMBER, Some(&end))
}

/// The highest id that a member ever had; 0: there was none.
pub(crate) fn last_member_id(view: &impl View) -> Result<u64, ViewError> {
    let last: Option<LastMemberId> = view.record(Table::Meta, LAST_MEMBER_ID)?;
    Ok(last.map_or(0, |last| last.id))
}

/// What to write when the members are `ids` now: ids are noted before their members can leave, and what those who
/// have left said of themselves is forgotten.
pub(crate) fn membership_changed(view: &impl View, ids: &[u64]) -> Result<Vec<Write>, ViewError> {
    let mut writes = Vec::new();
    let (before, highest) = (last_member_id(view)?, ids.iter().copied().max().unwrap_or(0));
    if highest > before {
        let value = Some(LastMemberId { id: highest }.encode_to_vec().into());
        let key = Bytes::from_static(LAST_MEMBER_ID);
        writes.push(Write { table: Table::Meta, key, value });
    }
    for row in rows(view) {
        let (key, _) = row?;
        let id = key.get(MEMBER.len()..).and_then(|id| id.try_into().ok()).map(u64::from_be_bytes);
        if id.is_none_or(|id| !ids.contains(&id)) {
            writes.push(Write { table: Table::Meta, key, value: None });
        }
    }
    Ok(writes)
}
