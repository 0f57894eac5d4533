//! Users and roles as they are replicated: pure. The same log makes the same tables on every member.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use imbl::OrdMap;
use prost::Message;

use super::grants::{self, Grants, ROOT, WATCHKEEP};
use crate::{
    mvcc::{Refusal, Table, View, ViewError, Write, decode},
    schema::{
        AuthAction, AuthState, Permission, Role, RolePermission, User, UserPassword, UserRole,
    },
};

/// Key of `AuthState` in [`Table::Meta`].
const STATE: &[u8] = b"auth/state";
/// Prefixes in [`Table::Meta`]; the name follows.
const USER: &str = "auth/user/";
const ROLE: &str = "auth/role/";
/// Longest name of a user or a role: it is a key of the storage engine.
pub(crate) const NAME_BYTES_MAX: usize = 1_024;

/// A user and what they may do, worked out when it is first asked for.
#[derive(Debug)]
struct Entry {
    user: User,
    grants: OnceLock<Grants>,
}

/// Users and roles at one revision. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tables {
    state: AuthState,
    users: OrdMap<String, Arc<Entry>>,
    roles: OrdMap<String, Arc<Role>>,
}

impl Default for Tables {
    fn default() -> Self {
        let state = AuthState { enabled: false, revision: 1 };
        Self { state, users: OrdMap::new(), roles: OrdMap::new() }
    }
}

/// What a change amounts to, beside the new tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// To be written.
    pub(crate) writes: Vec<Write>,
    /// Tokens of this user are void.
    pub(crate) invalidated: Option<String>,
    /// Whether tokens are void altogether.
    pub(crate) disabled: bool,
}

impl Tables {
    /// As they stand in a state.
    pub(crate) fn load(view: &impl View) -> Result<Self, ViewError> {
        let mut tables = Self::default();
        if let Some(state) = view.record(Table::Meta, STATE)? {
            tables.state = state;
        }
        for (name, value) in rows(view, USER)? {
            tables.users.insert(name, Arc::new(Entry::new(decode(Table::Meta, value)?)));
        }
        for (name, value) in rows(view, ROLE)? {
            tables.roles.insert(name, Arc::new(decode(Table::Meta, value)?));
        }
        Ok(tables)
    }

    /// Whether users are checked.
    pub(crate) fn enabled(&self) -> bool {
        self.state.enabled
    }

    /// How often users and roles have changed, from 1.
    pub(crate) fn revision(&self) -> u64 {
        self.state.revision
    }

    /// A user.
    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(|entry| &entry.user)
    }

    /// Names of all users, in order.
    pub(crate) fn users(&self) -> impl Iterator<Item = &String> {
        self.users.keys()
    }

    /// Names of all roles, in order, the built-in one among them.
    pub(crate) fn roles(&self) -> Vec<String> {
        let mut names: Vec<String> = self.roles.keys().cloned().collect();
        names.push(WATCHKEEP.to_owned());
        names.sort_unstable();
        names
    }

    /// A role's permissions.
    pub(crate) fn role(&self, name: &str) -> Option<Vec<Permission>> {
        match self.roles.get(name) {
            // Root has all permissions; those it may have been given beside are not shown (etcd: `RoleGet`).
            Some(_) if name == ROOT => grants::built_in(name).map(|all| vec![all]),
            Some(role) => Some(role.permissions.clone()),
            None if name == WATCHKEEP => grants::built_in(name).map(|own| vec![own]),
            None => None,
        }
    }

    /// What a user may do; none: there is no such user.
    pub(crate) fn grants(&self, user: &str) -> Option<&Grants> {
        let entry = self.users.get(user)?;
        Some(entry.grants.get_or_init(|| {
            let role = |name: &'_ String| self.roles.get(name).map(|role| &**role);
            Grants::new(entry.user.roles.iter().map(|name| (name.as_str(), role(name))))
        }))
    }

    /// Changes them. A refused change changes nothing.
    pub(crate) fn apply(&mut self, action: &AuthAction) -> Result<Change, Refusal> {
        let mut next = Draft { tables: self.clone(), change: Change::default() };
        match action {
            AuthAction::Enable(()) => next.enable()?,
            AuthAction::Disable(()) => next.disable(),
            AuthAction::UserAdd(add) => next.add_user(add)?,
            AuthAction::UserDelete(name) => next.delete_user(name)?,
            AuthAction::UserChangePassword(change) => next.change_password(change)?,
            AuthAction::UserGrantRole(grant) => next.grant_role(grant)?,
            AuthAction::UserRevokeRole(revoke) => next.revoke_role(revoke)?,
            AuthAction::RoleAdd(name) => next.add_role(name)?,
            AuthAction::RoleDelete(name) => next.delete_role(name)?,
            AuthAction::RoleGrant(grant) => next.grant(grant)?,
            AuthAction::RoleRevoke(revoke) => next.revoke(revoke)?,
            AuthAction::Login(login) => {
                if !self.enabled() {
                    return Err(Refusal::AuthNotEnabled);
                }
                if login.revision != self.revision() {
                    return Err(Refusal::AuthOldRevision);
                }
                self.user(&login.user).filter(|u| !u.no_password).ok_or(Refusal::AuthFailed)?;
            }
        }
        *self = next.tables;
        Ok(next.change)
    }
}

fn rows(view: &impl View, prefix: &str) -> Result<Vec<(String, Bytes)>, ViewError> {
    let end = format!("{}0", prefix.trim_end_matches('/'));
    let rows = view.scan(Table::Meta, prefix.as_bytes(), Some(end.as_bytes()));
    rows.map(|row| {
        let (key, value) = row?;
        let name = std::str::from_utf8(&key[prefix.len()..]);
        Ok((name.map_err(|e| ViewError::new(Table::Meta, e))?.to_owned(), value))
    })
    .collect()
}

impl Entry {
    fn new(user: User) -> Self {
        Self { user, grants: OnceLock::new() }
    }
}

/// Tables that are being changed.
struct Draft {
    tables: Tables,
    change: Change,
}

/// etcd's order of checks: `server/auth/store.go`.
impl Draft {
    fn write(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        let write = Write { table: Table::Meta, key: key.into(), value: value.map(Bytes::from) };
        self.change.writes.push(write);
    }

    fn write_state(&mut self) {
        let state = self.tables.state.encode_to_vec();
        self.write(STATE.to_vec(), Some(state));
    }

    /// Users or roles have changed.
    fn bump(&mut self) {
        self.tables.state.revision += 1;
        self.write_state();
    }

    fn user(&self, name: &str) -> Result<User, Refusal> {
        self.tables.user(name).cloned().ok_or(Refusal::UserNotFound)
    }

    fn put_user(&mut self, name: &str, user: User) {
        self.write(format!("{USER}{name}").into(), Some(user.encode_to_vec()));
        self.tables.users.insert(name.to_owned(), Arc::new(Entry::new(user)));
    }

    fn put_role(&mut self, name: &str, role: Role) {
        self.write(format!("{ROLE}{name}").into(), Some(role.encode_to_vec()));
        self.tables.roles.insert(name.to_owned(), Arc::new(role));
        self.forget_grants(name);
    }

    /// What the users of a role may do is worked out anew.
    fn forget_grants(&mut self, role: &str) {
        let has = |entry: &Entry| entry.user.roles.iter().any(|name| name == role);
        let users: Vec<_> = self.tables.users.iter().filter(|(_, entry)| has(entry)).collect();
        let anew: Vec<_> = users
            .into_iter()
            .map(|(name, entry)| (name.clone(), Arc::new(Entry::new(entry.user.clone()))))
            .collect();
        self.tables.users.extend(anew);
    }

    fn enable(&mut self) -> Result<(), Refusal> {
        if self.tables.enabled() {
            return Ok(());
        }
        let root = self.tables.user(ROOT).ok_or(Refusal::RootUserMissing)?;
        if !root.roles.iter().any(|role| role == ROOT) {
            return Err(Refusal::RootRoleMissing);
        }
        self.tables.state.enabled = true;
        self.write_state();
        Ok(())
    }

    fn disable(&mut self) {
        if self.tables.enabled() {
            self.tables.state.enabled = false;
            self.change.disabled = true;
            self.bump();
        }
    }

    fn add_user(&mut self, add: &UserPassword) -> Result<(), Refusal> {
        if add.name.is_empty() {
            return Err(Refusal::UserEmpty);
        }
        if self.tables.user(&add.name).is_some() {
            return Err(Refusal::UserExists);
        }
        let hash = if add.no_password { Bytes::new() } else { add.hash.clone() };
        self.put_user(&add.name, User { hash, no_password: add.no_password, roles: Vec::new() });
        self.bump();
        Ok(())
    }

    fn delete_user(&mut self, name: &str) -> Result<(), Refusal> {
        if self.tables.enabled() && name == ROOT {
            return Err(Refusal::InvalidAuthManagement);
        }
        self.user(name)?;
        self.tables.users.remove(name);
        self.write(format!("{USER}{name}").into(), None);
        self.change.invalidated = Some(name.to_owned());
        self.bump();
        Ok(())
    }

    fn change_password(&mut self, change: &UserPassword) -> Result<(), Refusal> {
        let mut user = self.user(&change.name)?;
        if !user.no_password {
            user.hash = change.hash.clone();
        }
        self.put_user(&change.name, user);
        self.change.invalidated = Some(change.name.clone());
        self.bump();
        Ok(())
    }

    fn grant_role(&mut self, grant: &UserRole) -> Result<(), Refusal> {
        let mut user = self.user(&grant.user)?;
        let built_in = matches!(grant.role.as_str(), ROOT | WATCHKEEP);
        if !built_in && !self.tables.roles.contains_key(&grant.role) {
            return Err(Refusal::RoleNotFound);
        }
        if let Err(at) = user.roles.binary_search(&grant.role) {
            user.roles.insert(at, grant.role.clone());
            self.put_user(&grant.user, user);
            self.bump();
        }
        Ok(())
    }

    fn revoke_role(&mut self, revoke: &UserRole) -> Result<(), Refusal> {
        if self.tables.enabled() && revoke.user == ROOT && revoke.role == ROOT {
            return Err(Refusal::InvalidAuthManagement);
        }
        let mut user = self.user(&revoke.user)?;
        let at = user.roles.binary_search(&revoke.role).map_err(|_| Refusal::RoleNotGranted)?;
        user.roles.remove(at);
        self.put_user(&revoke.user, user);
        self.bump();
        Ok(())
    }

    fn add_role(&mut self, name: &str) -> Result<(), Refusal> {
        if name.is_empty() {
            return Err(Refusal::RoleEmpty);
        }
        if name == WATCHKEEP || self.tables.roles.contains_key(name) {
            return Err(Refusal::RoleExists);
        }
        self.put_role(name, Role::default());
        self.bump();
        Ok(())
    }

    fn delete_role(&mut self, name: &str) -> Result<(), Refusal> {
        if name == WATCHKEEP || self.tables.enabled() && name == ROOT {
            return Err(Refusal::InvalidAuthManagement);
        }
        self.tables.roles.remove(name).ok_or(Refusal::RoleNotFound)?;
        self.write(format!("{ROLE}{name}").into(), None);
        let had = self.tables.users.iter().filter_map(|(user, entry)| {
            let at = entry.user.roles.iter().position(|role| role == name)?;
            let mut left = entry.user.clone();
            left.roles.remove(at);
            Some((user.clone(), left))
        });
        let had: Vec<(String, User)> = had.collect();
        for (user, left) in had {
            self.put_user(&user, left);
        }
        self.bump();
        Ok(())
    }

    fn grant(&mut self, grant: &RolePermission) -> Result<(), Refusal> {
        let permission = grant.permission.as_ref().ok_or(Refusal::PermissionNotGiven)?;
        if !is_range(&permission.key, &permission.range_end) || grant.role == WATCHKEEP {
            return Err(Refusal::InvalidAuthManagement);
        }
        let role = self.tables.roles.get(&grant.role).ok_or(Refusal::RoleNotFound)?;
        if grants::is_in_vain(permission) {
            return Err(Refusal::ReservedKeys);
        }
        let mut role = Role::clone(role);
        let same =
            |p: &&mut Permission| p.key == permission.key && p.range_end == permission.range_end;
        match role.permissions.iter_mut().find(same) {
            Some(there) => there.kind = permission.kind,
            None => {
                let at = role.permissions.partition_point(|p| p.key <= permission.key);
                role.permissions.insert(at, permission.clone());
            }
        }
        self.put_role(&grant.role, role);
        self.bump();
        Ok(())
    }

    fn revoke(&mut self, revoke: &RolePermission) -> Result<(), Refusal> {
        let role = self.tables.roles.get(&revoke.role).ok_or(Refusal::RoleNotFound)?;
        let Some(range) = &revoke.permission else { return Err(Refusal::PermissionNotGranted) };
        let mut left = Role::clone(role);
        left.permissions.retain(|p| p.key != range.key || p.range_end != range.range_end);
        if left.permissions.len() == role.permissions.len() {
            return Err(Refusal::PermissionNotGranted);
        }
        self.put_role(&revoke.role, left);
        self.bump();
        Ok(())
    }
}

/// Whether it means a key at all (etcd: `isValidPermissionRange`).
fn is_range(key: &[u8], end: &[u8]) -> bool {
    !key.is_empty() && (end.is_empty() || end == b"\0" || key < end)
}

#[cfg(test)]
mod tests;
