//! Users, roles and permissions through etcdctl 3.4 and crate `etcd-client`, and a node whose rooms log in.

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, GetOptions, PermissionType, PutOptions, Txn, TxnOp,
    WatchOptions,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{
    Cluster, Node, cluster, cluster::encode, etcdctl, eventually, http, wait::ensure,
};

const ROOT: &str = "root:root-password";

/// Nodes whose passwords are hashed at the least cost, with more settings of the registry.
async fn start(count: usize, settings: &str) -> Cluster {
    let cluster = Cluster::layout(count, &[]);
    for node in &cluster.nodes {
        let config = std::fs::read_to_string(node.config()).expect("a configuration");
        let more = format!("registry: {{bcrypt_cost: 4, {settings}");
        std::fs::write(node.config(), config.replace("registry: {", &more)).expect("written");
    }
    cluster.run().await
}

/// What etcdctl prints as this user; an error if it fails.
fn as_user(node: &Node, user: &str, args: &[&str]) -> Result<String, String> {
    // A login counts as dialling, and waits for a disk that others use, too.
    let flags = ["--dial-timeout", "20s", "--command-timeout", "20s", "--user", user];
    let output = etcdctl::run(&node.client, &[&flags, args].concat(), "");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Makes users and roles, and then has them checked.
fn furnish(node: &Node) {
    let run = |args: &[&str]| etcdctl::ok(&node.client, args);
    run(&["user", "add", ROOT]);
    run(&["user", "grant-role", "root", "root"]);
    run(&["role", "add", "app"]);
    run(&["role", "grant-permission", "app", "readwrite", "/app/", "--prefix"]);
    run(&["role", "grant-permission", "app", "read", "/shared"]);
    run(&["user", "add", "ann:ann-password"]);
    run(&["user", "grant-role", "ann", "app"]);
    run(&["user", "add", "rooms:rooms-password"]);
    run(&["user", "grant-role", "rooms", "watchkeep"]);
    assert!(etcdctl::run(&node.client, &["auth", "enable"], "").status.success());
}

/// What `watchkeep` prints; an error if it fails.
fn watchkeep(
    node: &Node,
    user: Option<&str>,
    args: &[&str],
    input: &str,
) -> Result<String, String> {
    let mut command = std::process::Command::new(cluster::WATCHKEEP);
    let endpoint = format!("http://{}", node.client);
    command.args(args).args(["--endpoints", &endpoint]).env_remove("WATCHKEEP_USER");
    command.args(user.map(|user| ["--user", user]).as_ref().into_iter().flatten());
    let piped = std::process::Stdio::piped;
    command.stdin(piped()).stdout(piped()).stderr(piped());
    let mut child = command.spawn().expect("it runs");
    // Commands that read nothing may have ended already.
    let _ = std::io::Write::write_all(&mut child.stdin.take().expect("piped"), input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn refused(result: Result<String, String>, why: &str) {
    let error = result.expect_err(why);
    assert!(error.contains(why), "{why}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn etcdctl_manages_users_roles_and_keys() {
    let cluster = start(3, "").await;
    let (node, other) = (&cluster.nodes[0], &cluster.nodes[2]);
    let plain = |args: &[&str]| {
        let output = etcdctl::run(&node.client, args, "");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(String::new()) } else { Err(error) }
    };
    refused(plain(&["auth", "enable"]), "root user does not exist");
    refused(plain(&["user", "grant-role", "ann", "app"]), "user name not found");
    furnish(node);

    refused(plain(&["put", "/app/a", "1"]), "user name is empty");
    refused(plain(&["get", "/app/a"]), "user name is empty");
    refused(as_user(node, "ann:wrong", &["get", "/app/a"]), "invalid user ID or password");
    refused(as_user(node, "nobody:x", &["get", "/app/a"]), "invalid user ID or password");
    let ann = "ann:ann-password";
    assert_eq!(as_user(node, ann, &["put", "/app/a", "1"]).as_deref(), Ok("OK"));
    assert_eq!(
        as_user(other, ann, &["get", "/app/", "--prefix", "--print-value-only"]).as_deref(),
        Ok("1")
    );
    assert_eq!(as_user(other, ROOT, &["put", "/shared", "s"]).as_deref(), Ok("OK"));
    assert_eq!(as_user(node, ann, &["get", "/shared", "--print-value-only"]).as_deref(), Ok("s"));
    for denied in [
        &["put", "/shared", "x"][..],
        &["get", "/", "--prefix"],
        &["get", "/app/", "--from-key"],
        &["del", "/app", "/app1"],
        &["user", "list"],
        &["role", "list"],
        &["user", "get", "root"],
        &["compact", "2"],
        &["defrag"],
        &["auth", "disable"],
        &["alarm", "list"],
    ] {
        refused(as_user(node, ann, denied), "permission denied");
    }
    // One's own user and role may be seen.
    assert!(as_user(node, ann, &["user", "get", "ann"]).is_ok_and(|text| text.contains("app")));
    let role = as_user(node, ann, &["role", "get", "app"]).expect("her own");
    assert!(role.contains("[/app/, /app0) (prefix /app/)") && role.contains("/shared"), "{role}");
    assert!(as_user(node, ann, &["member", "list"]).is_ok());
    let users = as_user(node, ROOT, &["user", "list"]);
    assert_eq!(users.as_deref(), Ok("ann\nrooms\nroot"));
    assert_eq!(as_user(node, ROOT, &["role", "list"]).as_deref(), Ok("app\nwatchkeep"));
    refused(as_user(node, ROOT, &["user", "add", ann]), "user name already exists");
    refused(as_user(node, ROOT, &["user", "delete", "root"]), "invalid auth management");
    refused(as_user(node, ROOT, &["role", "delete", "watchkeep"]), "invalid auth management");
    refused(
        as_user(node, ROOT, &["role", "revoke-permission", "app", "/none"]),
        "permission is not granted to the role",
    );

    // What is taken away holds at once, on every member.
    as_user(node, ROOT, &["role", "revoke-permission", "app", "/shared"]).expect("revoked");
    refused(as_user(other, ann, &["get", "/shared"]), "permission denied");
    as_user(node, ROOT, &["user", "delete", "ann"]).expect("deleted");
    refused(as_user(other, ann, &["get", "/app/a"]), "invalid user ID or password");

    watchkeeps_own_keys(node);
    metrics(node).await;
    as_user(node, ROOT, &["auth", "disable"]).expect("disabled");
    assert!(plain(&["put", "/app/a", "2"]).is_ok());
}

/// They are written by role `watchkeep` alone, not even by root; registrations can be given away.
fn watchkeeps_own_keys(node: &Node) {
    let key = "/watchkeep/verdicts/web/1";
    refused(as_user(node, ROOT, &["put", key, "x"]), "permission denied");
    refused(as_user(node, ROOT, &["del", "", "--prefix"]), "permission denied");
    assert!(as_user(node, ROOT, &["get", key]).is_ok());
    let rooms = "rooms:rooms-password";
    assert_eq!(as_user(node, rooms, &["put", key, "{}"]).as_deref(), Ok("OK"));
    refused(as_user(node, rooms, &["put", "/elsewhere", "x"]), "permission denied");
    as_user(node, ROOT, &["role", "add", "web"]).expect("a role");
    let grant = ["role", "grant-permission", "web", "readwrite", "--prefix"];
    refused(
        as_user(node, ROOT, &[&grant[..], &["/watchkeep/verdicts/"]].concat()),
        "grant the user the role watchkeep",
    );
    as_user(node, ROOT, &[&grant[..], &["/watchkeep/instances/web/"]].concat()).expect("granted");
    as_user(node, ROOT, &["user", "add", "web:web-password"]).expect("a user");
    as_user(node, ROOT, &["user", "grant-role", "web", "web"]).expect("granted");
    let web = "web:web-password";
    assert_eq!(
        as_user(node, web, &["put", "/watchkeep/instances/web/1", "{}"]).as_deref(),
        Ok("OK")
    );
    refused(as_user(node, web, &["put", "/watchkeep/instances/db/1", "{}"]), "permission denied");
}

async fn metrics(node: &Node) {
    let url = format!("http://{}/metrics", node.client);
    let text = http::text(http::client().get(url)).await.expect("metrics");
    for expected in [
        "watchkeep_registry_auth_enabled 1",
        "watchkeep_registry_auth_logins_total{result=\"failed\"} 2",
        "watchkeep_registry_auth_refusals_total{reason=\"anonymous\"}",
        "watchkeep_registry_auth_refusals_total{reason=\"permission\"}",
        "etcd_debugging_auth_revision ",
    ] {
        assert!(text.contains(expected), "{expected} is missing");
    }
    let log = std::fs::read_to_string(node.log()).expect("the log");
    for secret in ["root-password", "ann-password", "rooms-password"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

async fn connect(node: &Node, user: &str) -> Client {
    let (name, password) = user.split_once(':').expect("name:password");
    let options = ConnectOptions::new().with_user(name, password);
    Client::connect([format!("http://{}", node.client)], Some(options)).await.expect("connect")
}

fn message<T: std::fmt::Debug>(result: Result<T, etcd_client::Error>) -> String {
    match result {
        Err(etcd_client::Error::GRpcStatus(status)) => status.message().to_owned(),
        other => panic!("an error was expected: {other:?}"),
    }
}

const DENIED: &str = "etcdserver: permission denied";

#[tokio::test(flavor = "multi_thread")]
async fn leases_watches_and_transactions_ask_too() {
    let cluster = start(1, "").await;
    let node = &cluster.nodes[0];
    furnish(node);
    let mut root = connect(node, ROOT).await;
    let mut ann = connect(node, "ann:ann-password").await;
    root.put("/secret", "s", None).await.expect("put");
    root.put("/shared", "1", None).await.expect("put");

    // Every comparison and operation of a transaction counts, in both branches.
    let get = |key: &str| TxnOp::get(key, None);
    let own = || Compare::version("/app/a", CompareOp::Equal, 0);
    for txn in [
        Txn::new().when([Compare::value("/secret", CompareOp::Equal, "s")]),
        Txn::new().and_then([get("/app/a")]).or_else([get("/secret")]),
        Txn::new().and_then([TxnOp::txn(Txn::new().and_then([get("/secret")]))]),
        Txn::new().when([own()]).and_then([TxnOp::put("/shared", "x", None)]),
        Txn::new().and_then([TxnOp::put("/app/a", "x", None), TxnOp::delete("/secret", None)]),
    ] {
        assert_eq!(message(ann.txn(txn).await), DENIED);
    }
    let allowed =
        Txn::new().when([own()]).and_then([TxnOp::put("/app/a", "1", None), get("/shared")]);
    assert!(ann.txn(allowed).await.expect("allowed").succeeded());

    leases(&mut root, &mut ann).await;
    watches(node, &mut root, &mut ann).await;
    gateway(node).await;

    // A new password ends the old tokens.
    root.user_change_password("ann", "new-password").await.expect("changed");
    assert_eq!(message(ann.get("/app/a", None).await), "etcdserver: invalid auth token");
    assert!(connect(node, "ann:new-password").await.get("/app/a", None).await.is_ok());
}

/// A lease is its writer's: who may not write each of its keys neither ends nor renews nor uses it.
async fn leases(root: &mut Client, ann: &mut Client) {
    let lease = root.lease_grant(60, None).await.expect("granted").id();
    let under = |lease| Some(PutOptions::new().with_lease(lease));
    root.put("/secret", "s", under(lease)).await.expect("put");
    assert_eq!(message(ann.lease_revoke(lease).await), DENIED);
    assert_eq!(message(ann.put("/app/b", "x", under(lease)).await), DENIED);
    let keys = Some(etcd_client::LeaseTimeToLiveOptions::new().with_keys());
    assert_eq!(message(ann.lease_time_to_live(lease, keys.clone()).await), DENIED);
    assert!(ann.lease_time_to_live(lease, None).await.is_ok());
    assert_eq!(message(ann.leases().await), DENIED);
    let all = root.leases().await.expect("root sees all");
    assert!(all.leases().iter().any(|status| status.id() == lease));
    assert_eq!(message(ann.lease_keep_alive(lease).await.map(drop)), DENIED);
    root.lease_revoke(lease).await.expect("root may");

    let own = ann.lease_grant(60, None).await.expect("granted").id();
    ann.put("/app/leased", "x", under(own)).await.expect("put");
    assert!(ann.lease_time_to_live(own, keys).await.is_ok());
    ann.lease_revoke(own).await.expect("her own");
}

/// A watch shows nothing that its user may not read: not when it is made, and not afterwards.
async fn watches(node: &Node, root: &mut Client, ann: &mut Client) {
    let from_key = Some(WatchOptions::new().with_from_key());
    for (key, options) in [("/secret", None), ("/shared", from_key)] {
        let mut stream = ann.watch(key, options).await.expect("a stream");
        let answer = next(&mut stream).await;
        assert!(answer.canceled(), "{answer:?}");
        let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        assert_eq!(answer.cancel_reason(), reason);
    }
    let options = WatchOptions::new().with_prev_key();
    let mut stream = ann.watch("/shared", Some(options)).await.expect("she may read it");
    root.put("/shared", "2", None).await.expect("put");
    let seen = next(&mut stream).await;
    assert_eq!(seen.events()[0].kv().expect("a key").value(), b"2");
    root.role_revoke_permission("app", "/shared", None).await.expect("revoked");
    root.put("/shared", "3", None).await.expect("put");
    let end = next(&mut stream).await;
    assert!(end.canceled() && end.events().is_empty(), "{end:?}");
    root.role_grant_permission(
        "app",
        etcd_client::Permission::new(PermissionType::Read, "/shared"),
    )
    .await
    .expect("granted");
    // From the past, too, she sees it only while she may; a role that is taken from her counts as a permission does.
    assert!(ann.get("/shared", Some(GetOptions::new())).await.is_ok());
    let from_the_past = || Some(WatchOptions::new().with_start_revision(1));
    let mut stream = ann.watch("/shared", from_the_past()).await.expect("a stream");
    assert!(next(&mut stream).await.events().len() >= 2);
    root.user_revoke_role("ann", "app").await.expect("revoked");
    root.put("/shared", "4", None).await.expect("put");
    let end = next(&mut stream).await;
    assert!(end.canceled() && end.events().is_empty(), "{end:?}");
    let mut stream = ann.watch("/shared", from_the_past()).await.expect("a stream");
    assert!(next(&mut stream).await.canceled());
    root.user_grant_role("ann", "app").await.expect("granted");
    // So does a user that is no more.
    root.user_add("bob", "bob-password", None).await.expect("added");
    root.user_grant_role("bob", "app").await.expect("granted");
    let mut bob = connect(node, "bob:bob-password").await;
    let mut stream = bob.watch("/shared", None).await.expect("a stream");
    root.put("/shared", "5", None).await.expect("put");
    assert_eq!(next(&mut stream).await.events().len(), 1);
    root.user_delete("bob").await.expect("deleted");
    root.put("/shared", "6", None).await.expect("put");
    let end = next(&mut stream).await;
    assert!(end.canceled() && end.events().is_empty(), "{end:?}");
}

/// The next answer that is more than that there is a watcher now.
async fn next(stream: &mut etcd_client::WatchStream) -> etcd_client::WatchResponse {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), stream.message()).await;
        let answer = next.expect("in time").expect("the stream lives").expect("an answer");
        if answer.canceled() || !answer.created() {
            return answer;
        }
    }
}

/// The same in JSON, with the token in the header `Authorization`.
async fn gateway(node: &Node) {
    let login = json!({"name": "ann", "password": "ann-password"});
    let answer = node.v3("auth/authenticate", &login).await.expect("a login");
    let token = answer["token"].as_str().expect("a token").to_owned();
    let url = format!("http://{}/v3/kv/range", node.client);
    let call = |token: Option<String>, key: &str| {
        let mut request = http::client().post(&url).json(&json!({"key": encode(key)}));
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        async move {
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.text().await.expect("text"))
        }
    };
    assert_eq!(call(Some(token.clone()), "/app/a").await.0, 200);
    let (status, text) = call(Some(token), "/secret").await;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains(DENIED), "{text}");
    assert_eq!(call(Some("nonsense.1".to_owned()), "/app/a").await.0, 401);
    let (status, text) = call(None, "/app/a").await;
    assert_eq!((status, text.contains("user name is empty")), (400, true), "{text}");
    let (status, _) =
        http::any(Method::POST, &format!("http://{}/v3/auth/user/list", node.client), Some("{}"))
            .await;
    assert_eq!(status.as_u16(), 400);
}

/// Everything that etcdctl does with users and roles, by `watchkeep user|role|auth`.
#[tokio::test(flavor = "multi_thread")]
async fn watchkeep_manages_users_and_roles() {
    let cluster = start(1, "").await;
    let node = &cluster.nodes[0];
    let run = |args: &[&str], input: &str| watchkeep(node, None, args, input);
    let status = run(&["auth", "status"], "").expect("told");
    assert!(status.starts_with("users are not checked"), "{status}");
    refused(run(&["auth", "enable"], ""), "root user does not exist");
    let password = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password.path(), "root-password\n").expect("written");
    let file = password.path().to_str().expect("UTF-8");
    assert_eq!(
        run(&["user", "add", "root", "--new-password-file", file], "").as_deref(),
        Ok("user root added")
    );
    refused(run(&["user", "add", "ann"], ""), "the password is empty");
    for (args, input, said) in [
        (&["user", "grant-role", "root", "root"][..], "", "user root has role root"),
        (&["user", "add", "ann"], "first\n", "user ann added"),
        (&["user", "add", "machine", "--no-password"], "", "user machine added"),
        (&["role", "add", "app"], "", "role app added"),
        (
            &["role", "grant-permission", "app", "readwrite", "/app/", "--prefix"],
            "",
            "role app has readwrite on /app/*",
        ),
        (
            &["role", "grant-permission", "app", "read", "/b", "/d"],
            "",
            "role app has read on [/b, /d)",
        ),
        (&["user", "grant-role", "ann", "app"], "", "user ann has role app"),
        (&["auth", "enable"], "", "users are checked now"),
    ] {
        assert_eq!(run(args, input).as_deref(), Ok(said), "{args:?}");
    }
    refused(run(&["user", "list"], ""), "user name is empty");
    refused(watchkeep(node, Some("ann:wrong"), &["user", "get", "ann"], ""), "invalid user ID");
    refused(watchkeep(node, Some("ann:first"), &["user", "list"], ""), "permission denied");
    let ann = |args: &[&str]| watchkeep(node, Some("ann:first"), args, "");
    assert_eq!(ann(&["user", "get", "ann"]).as_deref(), Ok("app"));
    assert_eq!(ann(&["role", "get", "app"]).as_deref(), Ok("readwrite  /app/*\nread  [/b, /d)"));
    assert_eq!(as_user(node, "ann:first", &["put", "/app/x", "1"]).as_deref(), Ok("OK"));

    let root = |args: &[&str], input: &str| watchkeep(node, Some(ROOT), args, input);
    assert_eq!(root(&["user", "list"], "").as_deref(), Ok("ann\nmachine\nroot"));
    let json = root(&["user", "list", "--output", "json"], "").expect("JSON");
    assert_eq!(json, r#"{"users":["ann","machine","root"]}"#);
    assert_eq!(root(&["role", "list"], "").as_deref(), Ok("app\nwatchkeep"));
    let status = root(&["auth", "status"], "").expect("told");
    assert!(status.starts_with("users are checked; revision of users and roles: "), "{status}");
    root(&["user", "passwd", "ann"], "second").expect("changed");
    refused(ann(&["user", "get", "ann"]), "invalid user ID or password");
    root(&["role", "revoke-permission", "app", "/app/", "--prefix"], "").expect("revoked");
    refused(as_user(node, "ann:second", &["get", "/app/x"]), "permission denied");
    refused(root(&["role", "revoke-permission", "app", "/none"], ""), "is not granted to the role");
    root(&["user", "revoke-role", "ann", "app"], "").expect("revoked");
    root(&["role", "delete", "app"], "").expect("deleted");
    root(&["user", "delete", "ann"], "").expect("deleted");
    refused(root(&["user", "get", "ann"], ""), "user name not found");
    root(&["auth", "disable"], "").expect("disabled");
    assert_eq!(run(&["user", "list"], "").as_deref(), Ok("machine\nroot"));
}

/// All rooms of three nodes do their work as a user with role `watchkeep`, from before users are checked and after a
/// restart; the command line registers as a user of its own.
#[tokio::test(flavor = "multi_thread")]
async fn rooms_log_in() {
    let password = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password.path(), "rooms-password\n").expect("written");
    let credentials = format!("username: rooms, password_file: {:?}, ", password.path());
    let mut cluster = start(1, &credentials).await;
    cluster.alerting_leader().await;
    let node = &cluster.nodes[0];
    furnish(node);
    verdict(node, "before").await;
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.nodes[0].ready_http().await;
    verdict(&cluster.nodes[0], "after").await;

    let node = &cluster.nodes[0];
    let register = |user: &[&str]| {
        let mut command = std::process::Command::new(cluster::WATCHKEEP);
        command.args([
            "service",
            "register",
            "--service",
            "web",
            "--id",
            "w1",
            "--address",
            "127.0.0.1",
        ]);
        command
            .args(["--port", "80", "--endpoints", &format!("http://{}", node.client)])
            .args(user);
        command.output().expect("it runs")
    };
    let refused = register(&[]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("user name is empty"));
    let registered = register(&["--user", "rooms:rooms-password"]);
    assert!(registered.status.success(), "{registered:?}");
    let file = password.path().display().to_string();
    assert!(register(&["--user", "rooms", "--password-file", &file]).status.success());
    assert!(!register(&["--user", "rooms"]).status.success(), "no password");
}

/// Registers an instance through the HTTP API and waits for what the rooms make of it.
async fn verdict(node: &Node, instance: &str) {
    let check = json!({"name": "tcp", "interval_ms": 200, "timeout_ms": 100, "tcp": {}});
    let (address, port) = node.http.rsplit_once(':').expect("ip:port");
    let body = json!({
        "service": "site", "id": instance, "address": address,
        "port": port.parse::<u16>().expect("a port"), "checks": [check],
    });
    node.register("site", &body).await;
    let key = format!("/watchkeep/verdicts/site/{instance}");
    eventually("a verdict", Duration::from_secs(30), async || {
        let text = as_user(node, ROOT, &["get", &key, "--print-value-only"])?;
        let verdict: Value = serde_json::from_str(&text).unwrap_or_default();
        ensure(verdict["status"] == "passing", || format!("it is {verdict}"))
    })
    .await;
}
