//! Logging in other than by a simple token: signed tokens (JWT), compared with a real etcd that has the same keys, and the
//! name in a client certificate.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

use crate::common::{
    Cluster, Node,
    cluster::{START, encode},
    etcd::Etcd,
    etcdctl, eventually, http,
    pki::{Authority, Pair},
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(10);
/// How long a token of these tests is good.
const TTL_SECONDS: u64 = 3;
const ROOT: &str = "root:root-password";
const ANN: &str = "ann:ann-password";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// What etcdctl prints; an error if it fails.
fn run(endpoint: &str, args: &[&str]) -> Result<String, String> {
    said(etcdctl::run(endpoint, &[&["--dial-timeout", "20s"], args].concat(), ""))
}

fn said(output: Output) -> Result<String, String> {
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn refused(result: Result<String, String>, why: &str) {
    let error = result.expect_err(why);
    assert!(error.contains(why), "{why}: {error}");
}

/// Makes users and roles, and then has them checked. Always the same changes, so always the same revision.
fn furnish(endpoint: &str) {
    for args in [
        &["user", "add", ROOT][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "app"],
        &["role", "grant-permission", "app", "readwrite", "/app/", "--prefix"],
        &["user", "add", ANN],
        &["user", "grant-role", "ann", "app"],
        &["auth", "enable"],
    ] {
        run(endpoint, args).expect("it is allowed");
    }
}

/// A pair of keys as openssl makes them.
struct Keys {
    method: &'static str,
    private: PathBuf,
    public: PathBuf,
}

impl Keys {
    fn new(dir: &Path, method: &'static str) -> Self {
        let file = |what: &str| dir.join(format!("{method}-{what}.pem"));
        let (private, public) = (file("private"), file("public"));
        let openssl = |args: &[&str]| {
            let output = Command::new("openssl").args(args).output().expect("openssl runs");
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        };
        let out = private.to_str().expect("UTF-8");
        match method {
            "RS256" => openssl(&["genrsa", "-out", out, "2048"]),
            _ => openssl(&["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", out]),
        }
        openssl(&["pkey", "-in", out, "-pubout", "-out", public.to_str().expect("UTF-8")]);
        Self { method, private, public }
    }

    /// The setting in etcd's words.
    fn setting(&self) -> String {
        let [public, private] = [&self.public, &self.private].map(|file| file.display());
        let method = self.method;
        format!("jwt,sign-method={method},pub-key={public},priv-key={private},ttl={TTL_SECONDS}s")
    }

    /// The same where tokens can only be read.
    fn public_setting(&self) -> String {
        format!("jwt,sign-method={},pub-key={}", self.method, self.public.display())
    }

    /// A token of our own making, signed by openssl with this RSA key.
    fn sign(&self, header: &Value, claims: &Value, dir: &Path) -> String {
        let signed =
            format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let file = dir.join("to-sign");
        fs::write(&file, &signed).expect("written");
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256", "-sign"]).arg(&self.private).arg(&file);
        let output = command.output().expect("openssl runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        format!("{signed}.{}", BASE64.encode(output.stdout))
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A login by name and password.
async fn login(endpoint: &str) -> Result<String, String> {
    let url = format!("http://{endpoint}/v3/auth/authenticate");
    let answer = http::post(&url, &json!({"name": "ann", "password": "ann-password"})).await?;
    answer["token"].as_str().map(str::to_owned).ok_or_else(|| answer.to_string())
}

/// A range by somebody with this token: the status and what is said.
async fn read(endpoint: &str, token: &str, key: &str) -> (u16, String) {
    let request = http::client().post(format!("http://{endpoint}/v3/kv/range"));
    let request = request.header("Authorization", token).json(&json!({"key": encode(key)}));
    let (status, body) = http::send(request).await.expect("an answer");
    (status.as_u16(), body)
}

/// The claims in a token.
fn claims(token: &str) -> (Value, Value) {
    let part = |at: usize| {
        let part = token.split('.').nth(at).expect("three parts");
        serde_json::from_slice(&BASE64.decode(part).expect("base64")).expect("JSON")
    };
    (part(0), part(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_signed_with_rsa() {
    signed_tokens("RS256").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_signed_with_an_elliptic_curve() {
    signed_tokens("ES256").await;
}

/// Three nodes, of which the third has the public key only, and a real etcd with the same keys.
async fn signed_tokens(method: &'static str) {
    let cluster = Cluster::layout_roles(&["registry"; 3], None, &[]);
    let keys = Keys::new(cluster.dir(), method);
    cluster.configure_registry(|node| {
        let token = if node.id == 3 { keys.public_setting() } else { keys.setting() };
        json!({"bcrypt_cost": 4, "auth_token": token})
    });
    let cluster = cluster.run().await;
    let dir = cluster.dir();
    let flags = ["--auth-token", &keys.setting(), "--bcrypt-cost", "4"];
    let etcd = Etcd::start_with(dir, &flags).await;
    let [first, second, reader] = [0, 1, 2].map(|at| cluster.nodes[at].client.as_str());
    furnish(first);
    furnish(&etcd.client);

    // As a user does it.
    assert_eq!(run(first, &["--user", ANN, "put", "/app/a", "1"]).as_deref(), Ok("OK"));
    let got = run(second, &["--user", ANN, "get", "/app/", "--prefix", "--print-value-only"]);
    assert_eq!(got.as_deref(), Ok("1"));
    refused(run(second, &["--user", ANN, "put", "/b", "1"]), "permission denied");
    refused(run(second, &["--user", "ann:wrong", "get", "/app/a"]), "invalid user ID or password");

    // What is in a token, and that every member takes it: one with the public key, too, and an etcd.
    let token = login(first).await.expect("a login");
    let (header, said) = claims(&token);
    assert_eq!(header, json!({"alg": method, "typ": "JWT"}));
    assert_eq!(said["username"], "ann");
    let left = said["exp"].as_f64().expect("a time") - now_seconds() as f64;
    assert!(left > 0.0 && left <= TTL_SECONDS as f64, "{left}");
    for member in [first, second, reader] {
        let (status, body) = read(member, &token, "/app/a").await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(read(member, &token, "/secret").await.0, 403);
    }
    assert_eq!(read(&etcd.client, &token, "/app/a").await.0, 200, "etcd takes Watchkeep's");
    let etcds = login(&etcd.client).await.expect("a login");
    assert_eq!(claims(&etcds).1["revision"], said["revision"]);
    assert_eq!(read(first, &etcds, "/app/a").await.0, 200, "Watchkeep takes etcd's");
    assert!(login(reader).await.is_err(), "it has no key to sign with");

    // Its time ends it, everywhere.
    for member in [first, reader] {
        eventually("the token runs out", SOON, async || {
            let (status, body) = read(member, &token, "/app/a").await;
            ensure(status == 401 && body.contains("invalid auth token"), || body)
        })
        .await;
    }
    assert!(now_seconds() as f64 >= said["exp"].as_f64().expect("a time"), "not before its time");
    if method == "RS256" {
        strange_tokens(first, &keys, &said, dir).await;
    }

    // A change of users makes those from before it old.
    let token = login(second).await.expect("a login");
    run(first, &["--user", ROOT, "role", "add", "more"]).expect("added");
    let (_, body) = read(second, &token, "/app/a").await;
    let old = "revision of auth store is old";
    let gone = "invalid auth token";
    assert!(body.contains(old) || body.contains(gone), "{body}");
}

/// Tokens that somebody else has made.
async fn strange_tokens(endpoint: &str, keys: &Keys, said: &Value, dir: &Path) {
    let header = json!({"alg": "RS256", "typ": "JWT"});
    let claims = |user: &str, seconds: u64| json!({"username": user, "revision": said["revision"], "exp": seconds});
    let (later, before) = (now_seconds() + 60, now_seconds() - 1);
    let good = keys.sign(&header, &claims("ann", later), dir);
    assert_eq!(read(endpoint, &good, "/app/a").await.0, 200, "whoever has the key may make them");
    let (signed, signature) = good.rsplit_once('.').expect("a signature");
    let (_, said) = signed.split_once('.').expect("a header");
    let other = Keys::new(&tempfile::tempdir_in(dir).expect("a folder").keep(), "RS256");
    let none = BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let hmac = BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let head = good.split('.').next().expect("a header");
    let root = BASE64.encode(claims("root", later).to_string());
    for (token, what) in [
        (keys.sign(&header, &claims("ann", before), dir), "its time is over"),
        (other.sign(&header, &claims("ann", later), dir), "another key"),
        (format!("{head}.{root}.{signature}"), "another user under the same signature"),
        (format!("{none}.{said}."), "not signed"),
        (format!("{hmac}.{said}.{signature}"), "another method"),
        (format!("{signed}."), "no signature"),
        ("nonsense".to_owned(), "no token at all"),
    ] {
        let (status, body) = read(endpoint, &token, "/app/a").await;
        assert_eq!(status, 401, "{what}: {body}");
        assert!(body.contains("invalid auth token"), "{what}: {body}");
    }
}

/// A client with a certificate.
struct Shown<'a> {
    node: &'a Node,
    ca: &'a Path,
    pair: &'a Pair,
}

impl Shown<'_> {
    fn run(&self, args: &[&str]) -> Result<String, String> {
        let mut command = etcdctl::command(&format!("https://{}", self.node.client), args);
        for (flag, file) in
            [("--cacert", self.ca), ("--cert", &self.pair.cert), ("--key", &self.pair.key)]
        {
            command.arg(flag).arg(file);
        }
        said(command.args(["--dial-timeout", "20s"]).output().expect("etcdctl runs"))
    }
}

/// Who shows a certificate is the user that it names, with that user's permissions and no more.
#[tokio::test(flavor = "multi_thread")]
async fn the_name_in_a_certificate() {
    let mut cluster = Cluster::layout_roles(&["registry"], None, &[]);
    let dir = cluster.dir().to_owned();
    let ca = Authority::new(&dir, "ca");
    let server = ca.issue(&dir, "server", &["127.0.0.1"]);
    let [root, ann, bob] = ["root", "ann", "bob"].map(|name| ca.issue(&dir, name, &[]));
    let strange = Authority::new(&dir, "strange-ca");
    fs::create_dir(dir.join("strange")).expect("a folder");
    let forged = strange.issue(&dir.join("strange"), "root", &[]);
    let nameless = ca.issue_nameless(&dir, "nameless");
    cluster.configure_registry(|_| {
        json!({
            "bcrypt_cost": 4,
            "client_tls": {"ca": ca.file, "cert": root.cert, "key": root.key},
            "tls": {"cert": server.cert, "key": server.key, "client_ca": ca.file, "client_cert_auth": true},
        })
    });
    cluster.nodes[0].start();
    let node = &cluster.nodes[0];
    let with = |pair| Shown { node, ca: &ca.file, pair };
    eventually("the registry", START, async || with(&root).run(&["get", "up"])).await;
    for args in [
        &["user", "add", "root", "--no-password"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "app"],
        &["role", "grant-permission", "app", "readwrite", "/app/", "--prefix"],
        &["user", "add", "ann", "--no-password"],
        &["user", "grant-role", "ann", "app"],
        &["user", "add", "carl:carl-password"],
        &["auth", "enable"],
    ] {
        with(&root).run(args).expect("it is allowed");
    }

    assert_eq!(with(&ann).run(&["put", "/app/a", "1"]).as_deref(), Ok("OK"));
    assert_eq!(with(&ann).run(&["get", "/app/a", "--print-value-only"]).as_deref(), Ok("1"));
    for denied in
        [&["put", "/b", "1"][..], &["get", "", "--prefix"], &["user", "list"], &["auth", "disable"]]
    {
        refused(with(&ann).run(denied), "permission denied");
    }
    assert_eq!(with(&root).run(&["user", "list"]).as_deref(), Ok("ann\ncarl\nroot"));
    // A certificate of the right authority whose name is no user, one without a name, one of another authority.
    refused(with(&bob).run(&["get", "/app/a"]), "permission denied");
    refused(with(&nameless).run(&["get", "/app/a"]), "user name is empty");
    let short = ["get", "/app/a", "--dial-timeout", "2s", "--command-timeout", "2s"];
    assert!(with(&forged).run(&short).is_err(), "root of another authority");
    // A user without a password cannot log in with one, and a login goes before the certificate.
    refused(with(&bob).run(&["--user", "ann:", "get", "/app/a"]), "");
    refused(
        with(&root).run(&["--user", "carl:carl-password", "get", "/app/a"]),
        "permission denied",
    );
    // Through the JSON gateway a certificate names nobody.
    let body = gateway(node, &ca.file, &root, &dir);
    assert!(body.contains("user name is empty"), "{body}");
    // What is taken away is gone, and who is deleted is nobody.
    with(&root).run(&["user", "revoke-role", "ann", "app"]).expect("revoked");
    refused(with(&ann).run(&["get", "/app/a"]), "permission denied");
    with(&root).run(&["user", "delete", "ann"]).expect("deleted");
    refused(with(&ann).run(&["get", "/app/a"]), "permission denied");
}

/// A range by JSON with a certificate.
fn gateway(node: &Node, ca: &Path, pair: &Pair, dir: &Path) -> String {
    let url = format!("https://{}/v3/kv/range", node.client);
    let mut command = Command::new("curl");
    command.args([
        "-s",
        "--max-time",
        "10",
        &url,
        "-d",
        &json!({"key": encode("/app/a")}).to_string(),
    ]);
    command.arg("--cacert").arg(ca).arg("--cert").arg(&pair.cert).arg("--key").arg(&pair.key);
    let output = command.current_dir(dir).output().expect("curl runs");
    text(&output.stdout)
}
