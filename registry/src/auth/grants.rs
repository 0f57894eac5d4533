//! What one user may do: the union of their roles' permissions, and the keys that are Watchkeep's own.
//!
//! Nobody writes under `/watchkeep/` by a wide permission, root included: verdicts, failovers and incidents decide what
//! is switched over and who is woken up at night. The built-in role `watchkeep` writes there, and beside it whoever
//! was given a range *within* the registrations, `/watchkeep/services/` and `/watchkeep/instances/` (decision record 8).

use super::ranges::{Interval, Ranges};
use crate::schema::{Permission, Role};

/// The role that may do everything, but for Watchkeep's own keys; and the user who must have it.
pub(super) const ROOT: &str = "root";
/// Watchkeep's own role.
pub(super) const WATCHKEEP: &str = "watchkeep";
/// Watchkeep's own keys begin so.
const RESERVED: &str = "/watchkeep/";
/// Of these, what a service registers itself by.
const REGISTRATIONS: [&str; 2] = ["/watchkeep/services/", "/watchkeep/instances/"];

/// Kinds of [`Permission`].
pub(super) const READ: i32 = 0;
const WRITE: i32 = 1;
pub(super) const READWRITE: i32 = 2;

/// What one user may do.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    /// Users, roles, members, maintenance.
    pub(crate) is_root: bool,
    read: Ranges,
    write: Ranges,
}

impl Grants {
    /// Of the roles with these names.
    pub(super) fn new<'r>(roles: impl Iterator<Item = (&'r str, Option<&'r Role>)>) -> Self {
        let (mut read, mut ordinary, mut own) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_root = false;
        for (name, role) in roles {
            match name {
                ROOT => {
                    is_root = true;
                    read.push(everything());
                    ordinary.push(everything());
                }
                WATCHKEEP => {
                    read.push(Interval::prefix(RESERVED));
                    own.push(Interval::prefix(RESERVED));
                }
                _ => {}
            }
            for permission in role.iter().flat_map(|role| &role.permissions) {
                let interval = Interval::new(&permission.key, &permission.range_end);
                if matches!(permission.kind, READ | READWRITE) {
                    read.push(interval.clone());
                }
                if matches!(permission.kind, WRITE | READWRITE) {
                    if is_registration(&interval) { &mut own } else { &mut ordinary }
                        .push(interval);
                }
            }
        }
        let reserved = Interval::prefix(RESERVED);
        let ordinary = Ranges::union(ordinary).without(&reserved);
        Self { is_root, read: Ranges::union(read), write: Ranges::union(ordinary.chain(own)) }
    }

    /// Whether every key of a range may be read.
    pub(crate) fn may_read(&self, key: &[u8], end: &[u8]) -> bool {
        self.read.covers(key, end)
    }

    /// Whether every key of a range may be written.
    pub(crate) fn may_write(&self, key: &[u8], end: &[u8]) -> bool {
        self.write.covers(key, end)
    }

    /// Whether every key there can be may be read.
    pub(crate) fn reads_everything(&self) -> bool {
        self.read.is_everything()
    }
}

fn everything() -> Interval {
    Interval { from: bytes::Bytes::new(), to: None }
}

fn is_registration(interval: &Interval) -> bool {
    REGISTRATIONS.iter().any(|prefix| Interval::prefix(prefix).contains(interval))
}

/// Whether a permission would write among Watchkeep's own keys, and only there, outside of the registrations: it would
/// have no effect, so nobody can mean it. A wide one is welcome; it just does not reach there.
pub(super) fn is_in_vain(permission: &Permission) -> bool {
    let interval = Interval::new(&permission.key, &permission.range_end);
    permission.kind != READ
        && Interval::prefix(RESERVED).contains(&interval)
        && !is_registration(&interval)
}

/// The permission of a built-in role, which is nowhere kept.
pub(super) fn built_in(role: &str) -> Option<Permission> {
    let (key, range_end) = match role {
        ROOT => (String::new(), "\0".to_owned()),
        WATCHKEEP => (RESERVED.to_owned(), RESERVED.replace("p/", "p0")),
        _ => return None,
    };
    Some(Permission { kind: READWRITE, key: key.into(), range_end: range_end.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(permissions: &[(i32, &'static str, &'static str)]) -> Role {
        let permissions = permissions.iter().map(|(kind, key, end)| Permission {
            kind: *kind,
            key: (*key).into(),
            range_end: (*end).into(),
        });
        Role { permissions: permissions.collect() }
    }

    fn grants(roles: &[(&str, Role)]) -> Grants {
        Grants::new(roles.iter().map(|(name, role)| (*name, Some(role))))
    }

    #[test]
    fn roles_add_up() {
        let user = grants(&[
            ("a", role(&[(READ, "a", "c"), (WRITE, "w", "")])),
            ("b", role(&[(READWRITE, "c", "f")])),
        ]);
        assert!(
            user.may_read(b"b", b"e") && user.may_write(b"c", b"") && user.may_write(b"w", b"")
        );
        assert!(
            !user.may_read(b"b", b"g") && !user.may_write(b"b", b"") && !user.may_read(b"w", b"")
        );
        assert!(!user.is_root && !user.reads_everything());
        assert!(!user.may_read(b"c", b"\0"), "one key, or some, is not all keys behind it");
    }

    #[test]
    fn watchkeeps_keys_are_written_by_its_role_alone() {
        let wide = grants(&[(
            "wide",
            role(&[(READWRITE, "\0", "\0"), (WRITE, "/watchkeep", "/watchkeepz")]),
        )]);
        let root = grants(&[(ROOT, role(&[]))]);
        for user in [&wide, &root] {
            assert!(user.may_read(b"/watchkeep/verdicts/a/b", b""));
            assert!(user.may_write(b"/watchkee", b"") && user.may_write(b"/watchkeep", b""));
            assert!(user.may_write(b"/watchkeep0", b"\0"));
            assert!(!user.may_write(b"/watchkeep/", b""));
            assert!(!user.may_write(b"/watchkeep/verdicts/a/b", b""));
            assert!(!user.may_write(b"/watchkeep/instances/web/1", b""));
            assert!(!user.may_write(b"\0", b"\0") && !user.may_write(b"/a", b"/z"));
        }
        let own = grants(&[(WATCHKEEP, role(&[]))]);
        assert!(own.may_write(b"/watchkeep/", b"/watchkeep0") && !own.may_write(b"/other", b""));
        assert!(own.may_read(b"/watchkeep/", b"/watchkeep0") && !own.is_root);
        let both = grants(&[(WATCHKEEP, role(&[])), ("wide", role(&[(READWRITE, "\0", "\0")]))]);
        assert!(both.may_write(b"\0", b"\0"));
    }

    #[test]
    fn registrations_can_be_given_away() {
        let web =
            ("web", role(&[(READWRITE, "/watchkeep/instances/web/", "/watchkeep/instances/web0")]));
        let user = grants(&[web, ("wide", role(&[(READWRITE, "\0", "\0")]))]);
        assert!(user.may_write(b"/watchkeep/instances/web/1", b""));
        assert!(!user.may_write(b"/watchkeep/instances/db/1", b""));
        let permission = |kind, key: &'static str, end: &'static str| Permission {
            kind,
            key: key.into(),
            range_end: end.into(),
        };
        assert!(is_in_vain(&permission(WRITE, "/watchkeep/verdicts/", "/watchkeep/verdicts0")));
        assert!(is_in_vain(&permission(READWRITE, "/watchkeep/", "/watchkeep0")));
        assert!(!is_in_vain(&permission(READ, "/watchkeep/", "/watchkeep0")));
        assert!(!is_in_vain(&permission(WRITE, "/watchkeep/services/web", "")));
        assert!(!is_in_vain(&permission(WRITE, "\0", "\0")));
    }

    #[test]
    fn the_reserved_prefix_is_the_catalogs() {
        let reserved = built_in(WATCHKEEP).expect("it is built in");
        assert_eq!(
            (&reserved.key[..], &reserved.range_end[..]),
            (&b"/watchkeep/"[..], &b"/watchkeep0"[..])
        );
    }
}
