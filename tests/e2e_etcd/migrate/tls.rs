//! Moving in from an etcd that takes TLS with certificates only and checks users, into a registry with TLS of another
//! authority: each side's flags are its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::json;

use super::said;
use crate::{
    common::{
        Cluster, Node,
        cluster::{START, WATCHKEEP},
        eventually,
        pki::{Authority, Pair},
        ports,
        process::Process,
        wait::ensure,
    },
    tls::etcdctl,
};

/// One side as its clients need it.
struct Side {
    url: String,
    authority: Authority,
    server: Pair,
    client: Pair,
}

impl Side {
    fn new(dir: &Path, name: &str, address: &str) -> Self {
        let authority = Authority::new(dir, &format!("{name}-ca"));
        let server = authority.issue(dir, &format!("{name}-server"), &["127.0.0.1"]);
        let client = authority.issue(dir, &format!("{name}-client"), &[]);
        Self { url: format!("https://{address}"), authority, server, client }
    }

    fn run(&self, args: &[&str]) -> Output {
        let Self { authority, client, .. } = self;
        let files =
            [("--cacert", &authority.file), ("--cert", &client.cert), ("--key", &client.key)];
        etcdctl(&self.url, &files, args)
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "etcdctl {args:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    async fn ready(&self) {
        eventually(&self.url, START, async || {
            let output = self.run(&["get", "ready?"]);
            ensure(output.status.success(), || said(&output))
        })
        .await;
    }
}

/// etcd that takes nobody without a certificate.
fn etcd(dir: &Path, side: &Side) -> Process {
    let peer = format!("http://127.0.0.1:{}", ports::free());
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(dir.join("etcd"));
    command.args(["--name", "etcd", "--log-level", "error", "--client-cert-auth"]);
    command.args(["--listen-client-urls", &side.url, "--advertise-client-urls", &side.url]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", &format!("etcd={peer}")]);
    for (flag, file) in [
        ("--cert-file", &side.server.cert),
        ("--key-file", &side.server.key),
        ("--trusted-ca-file", &side.authority.file),
    ] {
        command.arg(flag).arg(file);
    }
    Process::spawn("etcd", command, &dir.join("etcd.log"))
}

/// A flag and what is given with it.
type Flag<'f> = (&'static str, &'f PathBuf);

fn instead<'f>(flags: &[Flag<'f>], flag: &str, file: &'f PathBuf) -> Vec<Flag<'f>> {
    flags.iter().map(|(of, given)| (*of, if *of == flag { file } else { *given })).collect()
}

fn without<'f>(flags: &[Flag<'f>], left_out: &[&str]) -> Vec<Flag<'f>> {
    flags.iter().filter(|(flag, _)| !left_out.contains(flag)).copied().collect()
}

/// `watchkeep migrate` with these flags, begun.
fn migrate(from: &Side, to: &Side, flags: &[Flag<'_>]) -> Child {
    let mut command = Command::new(WATCHKEEP);
    command.args(["migrate", "--from", &from.url, "--to", &to.url]);
    command.args(["--prefix", "/apps/", "--until-synced"]);
    command.args(flags.iter().map(|(flag, file)| format!("{flag}={}", file.display())));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("watchkeep runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_with_certificates_and_users_is_copied() {
    let mut cluster = Cluster::layout_roles(&["registry"], None, &[]);
    let dir = cluster.dir().to_owned();
    let from = Side::new(&dir, "etcd", &format!("127.0.0.1:{}", ports::free()));
    let to = Side::new(&dir, "registry", &cluster.nodes[0].client);
    cluster.configure_registry(|_| {
        json!({
            "tls": {
                "cert": to.server.cert, "key": to.server.key,
                "client_ca": to.authority.file, "client_cert_auth": true,
            },
            "client_tls": {
                "ca": to.authority.file, "cert": to.client.cert, "key": to.client.key,
            },
        })
    });
    cluster.nodes.iter_mut().for_each(Node::start);
    let _etcd = etcd(&dir, &from);
    from.ready().await;
    to.ready().await;
    for number in 0..20 {
        from.ok(&["put", &format!("/apps/{number}"), &format!("v{number}")]);
    }
    from.ok(&["put", "/others/1", "not copied"]);
    // Whoever copies may read what is copied, and nothing else.
    for args in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "mover"],
        &["role", "grant-permission", "mover", "read", "/apps/", "--prefix=true"],
        &["user", "add", "mover:moves"],
        &["user", "grant-role", "mover", "mover"],
        &["auth", "enable"],
    ] {
        from.ok(args);
    }

    let password = dir.join("password");
    fs::write(&password, "moves\n").expect("written");
    let missing = dir.join("missing.pem");
    let (user, root) = (PathBuf::from("mover"), ["--user", "root:secret"]);
    let right = [
        ("--from-cacert", &from.authority.file),
        ("--from-cert", &from.client.cert),
        ("--from-key", &from.client.key),
        ("--from-user", &user),
        ("--from-password-file", &password),
        ("--cacert", &to.authority.file),
        ("--cert", &to.client.cert),
        ("--key", &to.client.key),
    ];
    let wrong: [(Vec<Flag<'_>>, &str, &str); 7] = [
        (instead(&right, "--from-cacert", &to.authority.file), "source: ", "UnknownIssuer"),
        (instead(&right, "--cacert", &from.authority.file), "target: ", "UnknownIssuer"),
        (without(&right, &["--from-cert", "--from-key"]), "source: ", ""),
        (without(&right, &["--cert", "--key"]), "target: ", ""),
        (without(&right, &["--from-user", "--from-password-file"]), "source: ", "etcdserver: "),
        (without(&right, &["--from-password-file"]), "--from-user mover: ", "--from-password-file"),
        (instead(&right, "--from-cacert", &missing), "--from-cacert ", "missing.pem"),
    ];
    // At once: each tries for some seconds.
    let begun: Vec<Child> = wrong.iter().map(|(flags, ..)| migrate(&from, &to, flags)).collect();
    for (child, (flags, side, why)) in begun.into_iter().zip(&wrong) {
        let output = child.wait_with_output().expect("it ends");
        let text = said(&output);
        let is_named = text.contains(side) && text.contains(why);
        assert!(!output.status.success() && is_named, "{flags:?}: {text}");
    }
    assert_eq!(to.ok(&["get", "--prefix", "/apps/"]), "", "nothing was copied");

    let output = migrate(&from, &to, &right).wait_with_output().expect("it ends");
    let text = said(&output);
    assert!(output.status.success() && text.contains(": 20 keys, hash"), "{text}");
    let theirs = from.ok(&[&["get", "--prefix", "/apps/"][..], &root].concat());
    assert_eq!(to.ok(&["get", "--prefix", "/apps/"]), theirs);
    assert_eq!(to.ok(&["get", "--prefix", "/others/"]), "");
}
