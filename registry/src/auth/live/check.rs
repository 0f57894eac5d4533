//! "May they?", asked of a request after the state was read and before it is shown.

use super::{Auth, Denied};
use crate::{
    auth::{caller::Caller, grants::Grants, judge, tables::Tables},
    mvcc::{Refusal, View, ViewError},
    schema::{Range, Txn},
};

impl Auth {
    /// Whether a caller has root's role.
    pub(crate) fn check_root(&self, caller: &Caller) -> Result<(), Denied> {
        if !self.enabled() {
            return Ok(());
        }
        if self.is_replaced() {
            return Err(Denied::Replaced);
        }
        self.counted(admin(&self.tables(), &caller.user).map_err(Denied::from))
    }

    /// Whether a caller is known at all.
    pub(crate) fn check_known(&self, caller: &Caller) -> Result<(), Denied> {
        if !self.enabled() || !caller.user.is_empty() {
            return Ok(());
        }
        self.counted(Err(Refusal::UserEmpty.into()))
    }

    /// Whether a caller may read a range.
    pub(crate) fn check_range(&self, caller: &Caller, range: &Range) -> Result<(), Denied> {
        self.check(caller, |grants| Ok(allowed(judge::judge_range(grants, range))))
    }

    /// Whether a caller may run a transaction that only reads.
    pub(crate) fn check_txn<E: From<Denied> + From<ViewError>>(
        &self,
        caller: &Caller,
        txn: &Txn,
        view: &impl View,
    ) -> Result<(), E> {
        self.check(caller, |grants| Ok(judge::judge_txn(grants, txn, view)?))
    }

    /// Whether a caller may renew a lease: who may write each of its keys.
    pub(crate) fn check_lease<E: From<Denied> + From<ViewError>>(
        &self,
        caller: &Caller,
        lease: i64,
        view: &impl View,
    ) -> Result<(), E> {
        self.check(caller, |grants| Ok(judge::judge_lease(grants, lease, view)?))
    }

    /// Whether a caller may see the keys of some leases.
    pub(crate) fn check_lease_keys<E: From<Denied> + From<ViewError>>(
        &self,
        caller: &Caller,
        leases: impl IntoIterator<Item = i64>,
        view: &impl View,
    ) -> Result<(), E> {
        self.check(caller, |grants| {
            if grants.reads_everything() {
                return Ok(Ok(()));
            }
            for lease in leases {
                let verdict = judge::judge_lease_keys(grants, lease, view)?;
                if verdict.is_err() {
                    return Ok(verdict);
                }
            }
            Ok(Ok(()))
        })
    }

    /// Whether a caller may watch a range.
    pub(crate) fn check_watch(
        &self,
        caller: &Caller,
        key: &[u8],
        end: &[u8],
    ) -> Result<(), Denied> {
        self.check(caller, |grants| Ok(allowed(grants.may_read(key, end))))
    }

    /// Whether the user of a watch may still read its range, whatever has changed since it began.
    pub(crate) fn check_user(&self, user: &str, key: &[u8], end: &[u8]) -> Result<(), Denied> {
        if !self.enabled() {
            return Ok(());
        }
        if self.is_replaced() {
            return Err(Denied::Replaced);
        }
        let tables = self.tables();
        let grants = self.known(&tables, user, tables.revision());
        self.counted(grants.and_then(|g| allowed(g.may_read(key, end))).map_err(Denied::from))
    }

    /// Asks `check` of what a caller may do. To be asked after the state was read and before it is shown: what was
    /// read is then never newer than the permission.
    fn check<E: From<Denied>>(
        &self,
        caller: &Caller,
        check: impl FnOnce(&Grants) -> Result<Result<(), Refusal>, E>,
    ) -> Result<(), E> {
        if !self.enabled() {
            return Ok(());
        }
        if self.is_replaced() {
            return Err(Denied::Replaced.into());
        }
        let tables = self.tables();
        // A simple token or a certificate names a user, whatever has changed meanwhile; a signed token does not.
        let revision = if caller.signed { caller.revision } else { tables.revision() };
        let verdict = match self.known(&tables, &caller.user, revision) {
            Ok(grants) => check(grants)?,
            Err(refusal) => Err(refusal),
        };
        self.counted(verdict.map_err(Denied::from)).map_err(E::from)
    }
}

fn allowed(allowed: bool) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(Refusal::PermissionDenied) }
}

/// Whether a user has root's role, as long as it matters (etcd: `IsAdminPermitted`).
pub(super) fn admin(tables: &Tables, user: &str) -> Result<(), Refusal> {
    if !tables.enabled() {
        return Ok(());
    }
    if user.is_empty() {
        return Err(Refusal::UserEmpty);
    }
    let grants = tables.grants(user).ok_or(Refusal::UserNotFound)?;
    allowed(grants.is_root)
}
