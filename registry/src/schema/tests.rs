//! One example of each record as bytes. A test that fails here says that what is on disk, or on its way between
//! members, would be read differently: give the field a new number instead.

use prost::Message;

use super::*;

fn hex(message: &impl Message) -> String {
    message.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kv() -> KeyValue {
    KeyValue {
        key: "k".into(),
        create_revision: 2,
        mod_revision: 3,
        version: 4,
        value: "v".into(),
        lease: 5,
    }
}

fn every_operation() -> Vec<Op> {
    let range = Range {
        key: "a".into(),
        range_end: "b".into(),
        limit: 1,
        revision: 2,
        sort_order: 1,
        sort_target: 4,
        keys_only: true,
        count_only: true,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
    };
    let put = Put {
        key: "k".into(),
        value: "v".into(),
        lease: 7,
        prev_kv: true,
        ignore_value: true,
        ignore_lease: true,
    };
    let delete = Delete { key: "k".into(), range_end: "l".into(), prev_kv: true };
    [OpKind::Range(range), OpKind::Put(put), OpKind::Delete(delete), OpKind::Txn(Txn::default())]
        .map(|kind| Op { kind: Some(kind) })
        .into()
}

fn command(body: Body) -> Command {
    Command { time_ms: 9, body: Some(body), trace_parent: "t".to_owned(), ..Command::default() }
}

#[test]
fn records_keep_their_bytes() {
    let compare = [
        Target::Version(1),
        Target::Create(2),
        Target::Mod(3),
        Target::Value("v".into()),
        Target::Lease(4),
    ]
    .map(|target| Compare {
        result: 3,
        key: "k".into(),
        range_end: "l".into(),
        target: Some(target),
    });
    let txn =
        Txn { compare: compare.into(), success: every_operation(), failure: every_operation() };
    let outcomes = [
        OpOutcomeKind::Range(RangeOutcome { kvs: vec![kv()], more: true, count: 2, revision: 3 }),
        OpOutcomeKind::Put(PutOutcome { prev: Some(kv()), revision: 3 }),
        OpOutcomeKind::Delete(DeleteOutcome { deleted: 1, prev: vec![kv()], revision: 3 }),
        OpOutcomeKind::Txn(TxnOutcome::default()),
    ];
    let ops = outcomes.map(|kind| OpOutcome { kind: Some(kind) }).into();
    let outcome = Outcome {
        revision: 3,
        term: 4,
        refusal: 5,
        txn: Some(TxnOutcome { succeeded: true, ops, revision: 3 }),
        alarm: true,
        ..Outcome::default()
    };
    let info = MemberInfo { id: 1, name: "n".to_owned(), client_urls: vec!["u".to_owned()] };
    let applied = Applied {
        index: 1,
        term: 2,
        leader: 3,
        revision: 4,
        compact_revision: 5,
        membership: "{}".into(),
        any: true,
        keys: 6,
        alarms: 6,
    };
    let records = [
        ("txn", hex(&command(Body::Txn(txn)))),
        ("grant", hex(&command(Body::Grant(Grant { id: 1, ttl_seconds: 2 })))),
        ("revoke", hex(&command(Body::Revoke(Revoke { id: 1, term: 2 })))),
        ("compact", hex(&command(Body::Compact(Compact { revision: 1 })))),
        ("publish", hex(&command(Body::Publish(info)))),
        ("alarm", hex(&command(Body::Alarm(Alarm { raise: true, member: 1, kind: 2 })))),
        ("outcome", hex(&outcome)),
        ("key value", hex(&kv())),
        ("change", hex(&Change { deleted: true, key: "k".into(), kv: Some(kv()) })),
        (
            "lease checkpoint",
            hex(&command(Body::LeaseCheckpoint(LeaseCheckpoint {
                rests: vec![LeaseRest { id: 1, left_ms: 2 }],
                term: 3,
            }))),
        ),
        ("lease", hex(&Lease { ttl_seconds: 1, granted_ms: 2, left_ms: 3 })),
        ("applied", hex(&applied)),
        ("last member id", hex(&LastMemberId { id: 300 })),
    ];
    insta::assert_snapshot!(records.map(|(name, bytes)| format!("{name} {bytes}")).join("\n"));
}

#[test]
fn users_and_roles_keep_their_bytes() {
    let permission = Permission { kind: 2, key: "k".into(), range_end: "l".into() };
    let password = UserPassword { name: "n".to_owned(), hash: "h".into(), no_password: true };
    let user_role = UserRole { user: "u".to_owned(), role: "r".to_owned() };
    let role = RolePermission { role: "r".to_owned(), permission: Some(permission.clone()) };
    let login = Login { user: "u".to_owned(), token_hash: "h".into(), revision: 3 };
    let actions = [
        AuthAction::Enable(()),
        AuthAction::Disable(()),
        AuthAction::UserAdd(password.clone()),
        AuthAction::UserDelete("n".to_owned()),
        AuthAction::UserChangePassword(password),
        AuthAction::UserGrantRole(user_role.clone()),
        AuthAction::UserRevokeRole(user_role),
        AuthAction::RoleAdd("r".to_owned()),
        AuthAction::RoleDelete("r".to_owned()),
        AuthAction::RoleGrant(role.clone()),
        AuthAction::RoleRevoke(role),
        AuthAction::Login(login),
    ];
    let mut lines: Vec<String> = actions
        .into_iter()
        .map(|action| {
            let body = Some(Body::Auth(Auth { action: Some(action) }));
            let auth_user = "u".to_owned();
            hex(&Command { time_ms: 9, body, auth_user, auth_revision: 2, ..Command::default() })
        })
        .collect();
    let user = User { hash: "h".into(), no_password: true, roles: vec!["r".to_owned()] };
    lines.push(format!("state {}", hex(&AuthState { enabled: true, revision: 2 })));
    lines.push(format!("user {}", hex(&user)));
    lines.push(format!("role {}", hex(&Role { permissions: vec![permission] })));
    let auth = Some(AuthOutcome { index: 1, revision: 2 });
    lines.push(format!("outcome {}", hex(&Outcome { auth, ..Outcome::default() })));
    insta::assert_snapshot!(lines.join("\n"));
}
