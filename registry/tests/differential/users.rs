//! Users, roles and permissions on both: the same requests by the same users, allowed and refused alike.

use std::collections::{BTreeMap, BTreeSet};

use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use watchkeep_api::{
    authpb::Permission,
    etcdserverpb::{
        Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp,
        TxnRequest, WatchCreateRequest, compare::TargetUnion, request_op::Request,
    },
};

use crate::{
    first_seed, intended,
    pair::Pair,
    setting,
    user_op::{Said, Tokens, UserOp, Who, forget_users},
};

const SEQUENCES: u64 = 120;
const USERS: [&str; 4] = ["root", "ann", "bob", ""];
const ROLES: [&str; 4] = ["root", "app", "ops", ""];
/// The first is root's, always.
const PASSWORDS: [&str; 3] = ["p", "q", ""];
const KEYS: [&[u8]; 5] = [b"a", b"b", b"b/1", b"c", b"d"];
/// Ranges of permissions and of requests.
const RANGES: [(&[u8], &[u8]); 7] = [
    (b"a", b""),
    (b"a", b"c"),
    (b"b", b"c"),
    (b"b", b"d"),
    (b"c", b"\0"),
    (b"b/", b"b0"),
    (b"\0", b"\0"),
];
/// What is no range of keys.
const NO_RANGES: [(&[u8], &[u8]); 2] = [(b"c", b"a"), (b"", b"")];
/// The lease that there is.
const LEASE: i64 = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_allowed_and_refused_alike() {
    let first = first_seed();
    let count = setting("WATCHKEEP_SEQUENCES").unwrap_or(SEQUENCES);
    println!("WATCHKEEP_SEED={first} WATCHKEEP_SEQUENCES={count}");
    let mut pair = Pair::start().await;
    // What was refused, and for what: a test in which nobody is refused tests nothing.
    let (mut refusals, mut found) = (BTreeSet::new(), BTreeMap::new());
    for seed in first..first + count {
        pair.reset().await.expect("both are there");
        let lease = LeaseGrantRequest { id: LEASE, ttl: 600 };
        let (ours, theirs) = (&mut pair.watchkeep.lease, &mut pair.etcd.lease);
        let granted = tokio::join!(ours.lease_grant(lease), theirs.lease_grant(lease));
        assert!(granted.0.is_ok() && granted.1.is_ok(), "{granted:?}");
        let (mut ours, mut theirs) = (Tokens::default(), Tokens::default());
        let sequence = sequence(seed);
        let mut enabled = false;
        for (at, (who, op)) in sequence.iter().enumerate() {
            // "A token while users are not checked".
            let who = if enabled { who } else { &Who::Nobody };
            let (said, wanted): (Said, Said) = tokio::join!(
                op.ask(*who, &mut pair.watchkeep, &mut ours),
                op.ask(*who, &mut pair.etcd, &mut theirs)
            );
            if said != wanted && !intended::of_users(op, &said, &wanted) {
                let steps = sequence[..=at].iter().enumerate();
                let steps: String = steps.map(|(at, step)| format!("{at}: {step:?}\n")).collect();
                let differ = format!("watchkeep: {said:?}\netcd: {wanted:?}\n");
                // The shortest sequence to each.
                let known = found.entry(differ).or_insert_with(|| (seed, steps.clone()));
                if steps.len() < known.1.len() {
                    *known = (seed, steps);
                }
                break;
            }
            if said.is_ok() != wanted.is_ok() {
                // One of them has done it: from here on they are not of one state.
                break;
            }
            match op {
                UserOp::Enable if said.is_ok() => enabled = true,
                UserOp::Disable if said.is_ok() => enabled = false,
                _ => {}
            }
            refusals.extend(said.err());
        }
        tokio::join!(
            forget_users(&mut pair.watchkeep, PASSWORDS[0]),
            forget_users(&mut pair.etcd, PASSWORDS[0])
        );
    }
    let found: String = found
        .iter()
        .map(|(differ, (seed, steps))| {
            format!("WATCHKEEP_SEED={seed} WATCHKEEP_SEQUENCES=1: the last step differs.\n{steps}{differ}\n")
        })
        .collect();
    assert!(found.is_empty(), "{found}");
    let expected = ["permission denied", "user name is empty", "invalid auth token"];
    for refusal in expected.into_iter().filter(|_| count == SEQUENCES) {
        let met = refusals.iter().any(|met| met.contains(refusal));
        assert!(met, "{refusal} was never said: {refusals:?}");
    }
    pair.stop().await;
}

/// Mostly users that are checked, and then whatever they try.
fn sequence(seed: u64) -> Vec<(Who, UserOp)> {
    let mut random = StdRng::seed_from_u64(seed);
    let random = &mut random;
    let mut ops = Vec::new();
    if random.random_bool(0.9) {
        ops.extend(furnished(random).into_iter().map(|op| (Who::Nobody, op)));
    }
    for _ in 0..random.random_range(10..30) {
        ops.push((who(random), op(random)));
    }
    let mut granted = BTreeSet::new();
    ops.retain(|(_, op)| !is_granted_again(op, &mut granted));
    ops
}

/// "A permission that is granted again".
fn is_granted_again(op: &UserOp, granted: &mut BTreeSet<(&str, Vec<u8>, Vec<u8>)>) -> bool {
    let UserOp::Grant { role, permission } = op else { return false };
    let (key, end) = (permission.key.to_vec(), permission.range_end.to_vec());
    let another = granted.iter().any(|(of, at, to)| of == role && *at == key && *to != end);
    !granted.insert((*role, key, end)) && another
}

/// Users with roles with permissions, checked from now on, and logged in.
fn furnished(random: &mut StdRng) -> Vec<UserOp> {
    let mut ops = vec![
        UserOp::UserAdd { name: "root", password: PASSWORDS[0], no_password: false },
        UserOp::RoleAdd("root"),
        UserOp::GrantRole { user: "root", role: "root" },
        UserOp::RoleAdd("app"),
        UserOp::RoleAdd("ops"),
    ];
    for _ in 0..random.random_range(1..4) {
        ops.push(UserOp::Grant {
            role: pick(random, &["app", "ops"]),
            permission: permission(random),
        });
    }
    for name in ["ann", "bob"] {
        ops.push(UserOp::UserAdd { name, password: "q", no_password: random.random_bool(0.1) });
        ops.push(UserOp::GrantRole { user: name, role: pick(random, &["app", "ops"]) });
    }
    ops.push(UserOp::Enable);
    let mut logins = [("root", "p"), ("ann", "q"), ("bob", "q")];
    logins.shuffle(random);
    ops.extend(logins.map(|(user, password)| UserOp::LogIn { user, password }));
    ops
}

fn pick<T: Copy>(random: &mut StdRng, of: &[T]) -> T {
    *of.choose(random).expect("there is something to pick")
}

fn who(random: &mut StdRng) -> Who {
    match random.random_range(0..20) {
        0 => Who::Nobody,
        1 => Who::Stranger,
        2..=8 => Who::User("root"),
        9..=14 => Who::User("ann"),
        _ => Who::User("bob"),
    }
}

fn any_range(random: &mut StdRng) -> (&'static [u8], &'static [u8]) {
    if random.random_bool(0.1) { pick(random, &NO_RANGES) } else { pick(random, &RANGES) }
}

fn permission(random: &mut StdRng) -> Permission {
    let (key, range_end) = pick(random, &RANGES);
    Permission {
        perm_type: random.random_range(0..3),
        key: key.into(),
        range_end: range_end.into(),
    }
}

fn op(random: &mut StdRng) -> UserOp {
    let (user, role) = (pick(random, &USERS), pick(random, &ROLES));
    let password = if user == "root" { PASSWORDS[0] } else { pick(random, &PASSWORDS) };
    match random.random_range(0..60) {
        0..=3 => UserOp::LogIn { user, password: pick(random, &PASSWORDS) },
        4 => UserOp::Enable,
        5 => UserOp::Disable,
        6 | 7 => UserOp::UserAdd {
            name: user,
            password,
            no_password: user != "root" && random.random_bool(0.2),
        },
        8 | 9 => UserOp::UserDelete(user),
        10 | 11 => UserOp::UserGet(user),
        12 => UserOp::UserList,
        13 | 14 => UserOp::ChangePassword { name: user, password },
        15..=17 => UserOp::GrantRole { user, role },
        18..=19 => UserOp::RevokeRole { user, role },
        20 => UserOp::RoleAdd(role),
        21 => UserOp::RoleDelete(role),
        22 | 23 => UserOp::RoleGet(role),
        24 => UserOp::RoleList,
        25..=28 => UserOp::Grant { role, permission: permission(random) },
        29 | 30 => {
            let (key, range_end) = any_range(random);
            UserOp::Revoke { role, key, range_end }
        }
        31..=36 => UserOp::Range(range(random)),
        37..=44 => UserOp::Put(put(random)),
        45..=47 => UserOp::Delete(delete(random)),
        48..=52 => UserOp::Txn(txn(random)),
        53 => UserOp::LeaseRevoke(LEASE),
        54 | 55 => UserOp::LeaseKeys(LEASE),
        _ => {
            let (key, range_end) = any_range(random);
            UserOp::Watch(WatchCreateRequest {
                key: key.into(),
                range_end: range_end.into(),
                ..WatchCreateRequest::default()
            })
        }
    }
}

fn range(random: &mut StdRng) -> RangeRequest {
    let (key, range_end) = any_range(random);
    let serializable = random.random_bool(0.2);
    let (key, range_end) = (key.into(), range_end.into());
    RangeRequest { key, range_end, serializable, ..RangeRequest::default() }
}

fn put(random: &mut StdRng) -> PutRequest {
    PutRequest {
        key: pick(random, &KEYS).into(),
        value: "v".into(),
        lease: if random.random_bool(0.3) { LEASE } else { 0 },
        prev_kv: random.random_bool(0.2),
        ..PutRequest::default()
    }
}

fn delete(random: &mut StdRng) -> DeleteRangeRequest {
    // All keys would be Watchkeep's own, too.
    let (key, range_end) = loop {
        match any_range(random) {
            (b"\0", _) => {}
            range => break range,
        }
    };
    let prev_kv = random.random_bool(0.3);
    DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv }
}

fn txn(random: &mut StdRng) -> TxnRequest {
    let compare = Compare {
        key: pick(random, &KEYS).into(),
        target_union: Some(TargetUnion::Version(0)),
        ..Compare::default()
    };
    let branch = |random: &mut StdRng| {
        let request = match random.random_range(0..3) {
            0 => Request::RequestRange(range(random)),
            // What an inner put of a lease or of prev_kv asks has changed since 3.4.
            1 => Request::RequestPut(PutRequest { lease: 0, prev_kv: false, ..put(random) }),
            _ => Request::RequestDeleteRange(delete(random)),
        };
        vec![RequestOp { request: Some(request) }]
    };
    TxnRequest { compare: vec![compare], success: branch(random), failure: branch(random) }
}
