//! Changes in etcd's order of checks, and the whole against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::mvcc::Item;

/// What was written, as a state to load from.
#[derive(Default)]
struct Kept(BTreeMap<Bytes, Bytes>);

impl Kept {
    fn write(&mut self, change: &Change) {
        for write in &change.writes {
            assert_eq!(write.table, Table::Meta);
            match &write.value {
                Some(value) => self.0.insert(write.key.clone(), value.clone()),
                None => self.0.remove(&write.key),
            };
        }
    }
}

impl View for Kept {
    fn get(&self, _: Table, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan<'a>(
        &'a self,
        _: Table,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = Item> + 'a> {
        let (from, to) = (from.to_vec(), to.map(<[u8]>::to_vec));
        let within =
            move |key: &Bytes| key[..] >= from[..] && to.as_ref().is_none_or(|to| key[..] < to[..]);
        Box::new(
            self.0
                .iter()
                .filter(move |(key, _)| within(key))
                .map(|(k, v)| Ok((k.clone(), v.clone()))),
        )
    }
}

fn password(name: &str) -> UserPassword {
    UserPassword { name: name.to_owned(), hash: "hash".into(), no_password: false }
}

fn user_role(user: &str, role: &str) -> UserRole {
    UserRole { user: user.to_owned(), role: role.to_owned() }
}

fn range(role: &str, kind: i32, key: &str, end: &str) -> RolePermission {
    let (key, range_end) =
        (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(end.as_bytes()));
    RolePermission { role: role.to_owned(), permission: Some(Permission { kind, key, range_end }) }
}

#[test]
fn refusals_and_revisions() {
    use AuthAction::*;
    let login = |revision| {
        Login(crate::schema::Login { user: "ann".to_owned(), token_hash: Bytes::new(), revision })
    };
    let mut tables = Tables::default();
    let steps: Vec<(AuthAction, Result<u64, Refusal>)> = vec![
        (Enable(()), Err(Refusal::RootUserMissing)),
        (Disable(()), Ok(1)),
        (UserAdd(password("")), Err(Refusal::UserEmpty)),
        (UserAdd(password("root")), Ok(2)),
        (UserAdd(password("root")), Err(Refusal::UserExists)),
        (Enable(()), Err(Refusal::RootRoleMissing)),
        (UserGrantRole(user_role("nobody", "root")), Err(Refusal::UserNotFound)),
        (UserGrantRole(user_role("root", "none")), Err(Refusal::RoleNotFound)),
        (UserGrantRole(user_role("root", "root")), Ok(3)),
        (UserGrantRole(user_role("root", "root")), Ok(3)),
        (login(3), Err(Refusal::AuthNotEnabled)),
        (Enable(()), Ok(3)),
        (Enable(()), Ok(3)),
        (UserAdd(password("ann")), Ok(4)),
        (login(3), Err(Refusal::AuthOldRevision)),
        (login(4), Ok(4)),
        (RoleAdd(String::new()), Err(Refusal::RoleEmpty)),
        (RoleAdd("web".to_owned()), Ok(5)),
        (RoleAdd("web".to_owned()), Err(Refusal::RoleExists)),
        (RoleAdd("watchkeep".to_owned()), Err(Refusal::RoleExists)),
        (RoleDelete("watchkeep".to_owned()), Err(Refusal::InvalidAuthManagement)),
        (RoleGrant(range("watchkeep", 2, "a", "b")), Err(Refusal::InvalidAuthManagement)),
        (UserGrantRole(user_role("ann", "watchkeep")), Ok(6)),
        (RoleGrant(range("none", 0, "a", "b")), Err(Refusal::RoleNotFound)),
        (RoleGrant(range("web", 0, "b", "a")), Err(Refusal::InvalidAuthManagement)),
        (RoleGrant(range("web", 0, "", "")), Err(Refusal::InvalidAuthManagement)),
        (
            RoleGrant(RolePermission { role: "web".to_owned(), permission: None }),
            Err(Refusal::PermissionNotGiven),
        ),
        (
            RoleGrant(range("web", 1, "/watchkeep/slo/", "/watchkeep/slo0")),
            Err(Refusal::ReservedKeys),
        ),
        (RoleGrant(range("web", 0, "a", "b")), Ok(7)),
        (RoleGrant(range("web", 2, "a", "b")), Ok(8)),
        (RoleRevoke(range("web", 0, "a", "")), Err(Refusal::PermissionNotGranted)),
        (RoleRevoke(range("web", 0, "a", "b")), Ok(9)),
        (UserRevokeRole(user_role("ann", "web")), Err(Refusal::RoleNotGranted)),
        (UserRevokeRole(user_role("root", "root")), Err(Refusal::InvalidAuthManagement)),
        (UserDelete("root".to_owned()), Err(Refusal::InvalidAuthManagement)),
        (RoleDelete("root".to_owned()), Err(Refusal::InvalidAuthManagement)),
        (UserDelete("bob".to_owned()), Err(Refusal::UserNotFound)),
        (UserChangePassword(password("bob")), Err(Refusal::UserNotFound)),
        (UserChangePassword(password("ann")), Ok(10)),
        (UserDelete("ann".to_owned()), Ok(11)),
        (Disable(()), Ok(12)),
        (UserDelete("root".to_owned()), Ok(13)),
    ];
    for (at, (action, expected)) in steps.into_iter().enumerate() {
        let before = tables.revision();
        let result = tables.apply(&action).map(|_| tables.revision());
        assert_eq!(result, expected, "step {at}: {action:?}");
        assert_eq!(tables.revision(), expected.unwrap_or(before), "step {at}");
    }
}

/// What the tables mean, as simply as can be.
#[derive(Default)]
struct Model {
    users: BTreeMap<String, BTreeSet<String>>,
    roles: BTreeMap<String, Vec<Permission>>,
}

impl Model {
    fn apply(&mut self, action: &AuthAction) {
        match action {
            AuthAction::UserAdd(add) => {
                self.users.entry(add.name.clone()).or_default();
            }
            AuthAction::UserDelete(name) => {
                self.users.remove(name);
            }
            AuthAction::UserGrantRole(grant) => {
                let known = self.roles.contains_key(&grant.role) || grant.role == "watchkeep";
                if let Some(roles) = self.users.get_mut(&grant.user).filter(|_| known) {
                    roles.insert(grant.role.clone());
                }
            }
            AuthAction::UserRevokeRole(revoke) => {
                self.users.get_mut(&revoke.user).map(|roles| roles.remove(&revoke.role));
            }
            AuthAction::RoleAdd(name) => {
                self.roles.entry(name.clone()).or_default();
            }
            AuthAction::RoleDelete(name) => {
                let known = self.roles.remove(name).is_some();
                self.users.values_mut().filter(|_| known).for_each(|roles| {
                    roles.remove(name);
                });
            }
            AuthAction::RoleGrant(grant) => {
                let permission = grant.permission.clone().expect("given");
                if let Some(role) = self.roles.get_mut(&grant.role)
                    && is_range(&permission.key, &permission.range_end)
                {
                    role.retain(|p| p.key != permission.key || p.range_end != permission.range_end);
                    role.push(permission);
                }
            }
            AuthAction::RoleRevoke(revoke) => {
                let gone = revoke.permission.as_ref().expect("given");
                if let Some(role) = self.roles.get_mut(&revoke.role) {
                    role.retain(|p| p.key != gone.key || p.range_end != gone.range_end);
                }
            }
            _ => {}
        }
    }

    fn may(&self, user: &str, key: &[u8], write: bool) -> bool {
        let reserved = key.starts_with(b"/watchkeep/");
        let roles = self.users.get(user).into_iter().flatten();
        roles.into_iter().any(|role| {
            let granted = self.roles.get(role).into_iter().flatten().any(|p| {
                let kind = p.kind == 2 || p.kind == i32::from(write);
                kind && crate::mvcc::Bounds::new(&p.key, &p.range_end).contains(key)
            });
            (granted && !(write && reserved)) || (role == "watchkeep" && reserved)
        })
    }
}

const USERS: [&str; 2] = ["ann", "bob"];
const ROLES: [&str; 3] = ["web", "db", "watchkeep"];
const KEYS: [&str; 6] = ["a", "b", "c", "/", "/watchkeep", "d"];
const ENDS: [&str; 7] = ["", "\0", "b", "c", "e", "/x", "0"];

fn action() -> impl Strategy<Value = AuthAction> {
    use proptest::sample::select;
    let (user, role) = (|| select(&USERS[..]), || select(&ROLES[..]));
    let permission = (role(), 0..3, select(&KEYS[..]), select(&ENDS[..]));
    let permission = permission.prop_map(|(role, kind, key, end)| range(role, kind, key, end));
    prop_oneof![
        1 => user().prop_map(|name| AuthAction::UserAdd(password(name))),
        1 => user().prop_map(|name| AuthAction::UserDelete(name.to_owned())),
        1 => role().prop_map(|name| AuthAction::RoleAdd(name.to_owned())),
        1 => role().prop_map(|name| AuthAction::RoleDelete(name.to_owned())),
        3 => (user(), role()).prop_map(|(u, r)| AuthAction::UserGrantRole(user_role(u, r))),
        1 => (user(), role()).prop_map(|(u, r)| AuthAction::UserRevokeRole(user_role(u, r))),
        4 => permission.clone().prop_map(AuthAction::RoleGrant),
        1 => permission.prop_map(AuthAction::RoleRevoke),
    ]
}

proptest! {
    /// After any changes each user may do what the model says, key by key; and what was written makes the same
    /// tables again.
    #[test]
    fn users_may_what_the_model_says(actions in proptest::collection::vec(action(), 0..40)) {
        let mut model = Model::default();
        for name in ["web", "db"] {
            model.apply(&AuthAction::RoleAdd(name.to_owned()));
        }
        let (mut tables, mut kept) = (Tables::default(), Kept::default());
        for name in ["web", "db"] {
            kept.write(&tables.apply(&AuthAction::RoleAdd(name.to_owned())).expect("a role"));
        }
        for action in &actions {
            if matches!(action, AuthAction::RoleAdd(n) | AuthAction::RoleDelete(n) if n == "watchkeep") {
                prop_assert!(tables.apply(action).is_err());
                continue;
            }
            let built_in = matches!(action, AuthAction::RoleGrant(g) | AuthAction::RoleRevoke(g) if g.role == "watchkeep");
            if built_in {
                prop_assert!(tables.apply(action).is_err());
                continue;
            }
            model.apply(action);
            // Of each user what they may is asked in between, so that what is remembered of it must be forgotten.
            for user in USERS {
                prop_assert!(!tables.grants(user).is_some_and(|g| g.is_root));
            }
            if let Ok(change) = tables.apply(action) {
                kept.write(&change);
            }
        }
        let loaded = Tables::load(&kept).expect("it can be read");
        for tables in [&tables, &loaded] {
            for user in USERS {
                for key in ["a", "aa", "b", "c", "cc", "d", "/", "/a", "/watchkeep", "/watchkeep/a", "/watchkeep/slo/b", "/z", "z"] {
                    let grants = tables.grants(user);
                    let read = grants.is_some_and(|g| g.may_read(key.as_bytes(), b""));
                    let write = grants.is_some_and(|g| g.may_write(key.as_bytes(), b""));
                    prop_assert_eq!(read, model.may(user, key.as_bytes(), false), "{} reads {}", user, key);
                    prop_assert_eq!(write, model.may(user, key.as_bytes(), true), "{} writes {}", user, key);
                }
            }
        }
        prop_assert_eq!(tables.revision(), loaded.revision());
        prop_assert_eq!(tables.roles(), loaded.roles());
    }
}
