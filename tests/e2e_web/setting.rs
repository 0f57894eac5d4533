//! Nodes whose HTTP listeners have TLS and users, and who asks them: curl and our own commands.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use chrono::Utc;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

use crate::common::{
    Cluster, Node,
    cluster::WATCHKEEP,
    pki::{Authority, Pair},
    wait::ensure,
};

/// Of "secret", with a cost of 4.
const HASH: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";
const LINK_SECRET: &[u8] = b"link-secret";

/// Certificates, passwords and the web configuration, in a folder.
pub(super) struct Setting {
    pub(super) dir: TempDir,
    pub(super) authority: Authority,
    pub(super) client: Pair,
}

impl Setting {
    /// With what `tls_server_config` has beside a certificate.
    pub(super) fn new(more: &Value) -> Self {
        let dir = TempDir::with_prefix("watchkeep-test-").expect("temporary folder");
        let authority = Authority::new(dir.path(), "ca");
        authority.issue(dir.path(), "server", &["127.0.0.1", "localhost"]);
        let client = authority.issue(dir.path(), "client", &["client.example.org"]);
        let setting = Self { dir, authority, client };
        setting.write("password", "secret\n");
        setting.write("links", "link-secret\n");
        setting
            .write("alertmanager.yml", "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n");
        setting.demand(more, &["alice", "watchkeep"]);
        setting
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        path
    }

    /// Writes the web configuration.
    pub(super) fn demand(&self, more: &Value, users: &[&str]) {
        let mut tls = json!({"cert_file": "server.pem", "key_file": "server-key.pem"});
        for (name, value) in more.as_object().expect("an object") {
            tls[name] = value.clone();
        }
        let users: serde_json::Map<String, Value> =
            users.iter().map(|name| ((*name).to_owned(), json!(HASH))).collect();
        let web = json!({
            "tls_server_config": tls,
            "basic_auth_users": users,
            "http_server_config": {"headers": {"X-Frame-Options": "sameorigin"}},
        });
        // JSON is YAML.
        self.write("web.yml", &web.to_string());
    }

    /// Nodes of these roles that keep to it.
    pub(super) fn layout(&self, roles: &[&str]) -> Cluster {
        let tls = json!({
            "ca_file": self.authority.file, "cert_file": self.client.cert, "key_file": self.client.key,
        });
        let user = json!({"username": "watchkeep", "password_file": self.path("password")});
        self.layout_with(roles, json!({
            "self_scrape_interval_ms": 500, "http_client": {"basic_auth": user, "tls_config": tls},
        }))
    }

    /// The same with another collector.
    pub(super) fn layout_with(&self, roles: &[&str], collector: Value) -> Cluster {
        let alerting = json!({
            "alertmanager_config": self.path("alertmanager.yml"),
            "pages": {"link_secret_file": self.path("links")},
        });
        let sections = [("collector", collector), ("alerting", alerting)];
        let mut cluster = Cluster::layout_roles(roles, None, &sections);
        for node in &mut cluster.nodes {
            let text = fs::read_to_string(node.config()).expect("configuration");
            let plain = format!("http: \"{}\"", node.http);
            let web = format!("{plain}, http_web_config: {:?}", self.path("web.yml"));
            let text = text
                .replace(&plain, &web)
                .replace("external_url: \"http://", "external_url: \"https://");
            fs::write(node.config(), text).expect("written");
            node.start();
        }
        cluster
    }

    /// curl with the authority, and what else is said.
    pub(super) fn curl(&self, node: &Node, path: &str, more: &[&str]) -> Result<String, String> {
        let ca = self::path(&self.authority.file);
        let url = format!("https://{}{path}", node.http);
        curl(&[&["--cacert", ca.as_str()][..], more, &[url.as_str()]].concat())
    }

    /// The same as alice.
    pub(super) fn ask(&self, node: &Node, path: &str, more: &[&str]) -> Result<String, String> {
        self.curl(node, path, &[&["-u", "alice:secret"][..], more].concat())
    }

    /// The JSON that alice is answered with.
    pub(super) fn json(&self, node: &Node, path: &str, more: &[&str]) -> Result<Value, String> {
        let answer = self.ask(node, path, more)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        ensure(is(head, 200) || is(head, 201), || answer.clone())?;
        serde_json::from_str(body).map_err(|e| format!("{e}: {body}"))
    }

    /// A command of ours as alice.
    pub(super) fn command(&self, node: &Node, args: &[&str]) -> Output {
        let mut command = command(node, args);
        command.arg("--cacert").arg(&self.authority.file);
        command.args(["--http-user", "alice", "--http-password-file"]).arg(self.path("password"));
        command.output().expect("watchkeep")
    }
}

/// What curl prints: the head of the answer and its body.
pub(super) fn curl(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("curl");
    let output = command.args(["-sS", "-i", "--noproxy", "*", "--max-time", "10"]).args(args);
    let output = output.output().expect("curl");
    let said = text(&output.stdout);
    ensure(output.status.success(), || format!("{said}{}", text(&output.stderr)))?;
    Ok(said)
}

pub(super) fn command(node: &Node, args: &[&str]) -> Command {
    let mut command = Command::new(WATCHKEEP);
    command.args(args).arg("--http").arg(format!("https://{}", node.http));
    command
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether an answer begins with this status, whatever the version.
pub(super) fn is(answer: &str, status: u16) -> bool {
    answer.split_whitespace().nth(1) == Some(status.to_string().as_str())
}

pub(super) fn log(node: &Node) -> String {
    fs::read_to_string(node.log()).unwrap_or_default()
}

/// A link as a mail has it, made here from its description.
pub(super) fn link(incident: &str) -> String {
    let until = Utc::now().timestamp() + 3_600;
    let signed = format!("{incident}~acknowledge~alice~{until}~page.alice");
    let mut mac = Hmac::<Sha256>::new_from_slice(LINK_SECRET).expect("any length");
    mac.update(format!("watchkeep incident link v1\n{signed}").as_bytes());
    let mut hex = String::new();
    for byte in mac.finalize().into_bytes().as_slice() {
        write!(hex, "{byte:02x}").expect("a text takes it");
    }
    format!("/v1/links/{signed}~{hex}")
}

pub(super) fn path(file: &Path) -> String {
    file.display().to_string()
}
