//! A real mail server, aiosmtpd from PyPI, that prints what it receives into its log.

use std::{
    io::Write,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::{eventually, pki::Pair, ports, process::Process, wait::ensure};

/// A server that wants STARTTLS and a password: certificate, key, port, user, password. It says of each mail who sent it.
const SECURE: &str = r#"
import ssl, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
cert, key, port, user, password = sys.argv[1:]
class Handler:
    async def handle_DATA(self, server, session, envelope):
        print("---------- MESSAGE FOLLOWS ----------")
        print(f"X-Session: tls={session.ssl is not None} user={session.auth_data.login.decode()}")
        print(envelope.content.decode().replace("\r\n", "\n"))
        print("------------ END MESSAGE ------------", flush=True)
        return "250 taken"
def authenticate(server, session, envelope, mechanism, data):
    known = data.login == user.encode() and data.password == password.encode()
    return AuthResult(success=known, auth_data=data)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(cert, key)
Controller(Handler(), hostname="127.0.0.1", port=int(port), tls_context=context, require_starttls=True,
           authenticator=authenticate, auth_required=True).start()
sys.stdin.read()
"#;

/// A mail's parts, by Python's own library.
const READ: &str = r#"
import sys, json, email, email.policy
mail = email.message_from_string(sys.stdin.read(), policy=email.policy.default)
def part(p):
    content = p.get_content()
    return {"type": p.get_content_type(), "id": p["content-id"], "disposition": p.get_content_disposition(),
            "text": content if isinstance(content, str) else content.hex()}
print(json.dumps({"subject": mail["subject"], "from": mail["from"], "to": mail["to"], "id": mail["message-id"],
                  "references": mail["references"], "session": mail["x-session"], "type": mail.get_content_type(),
                  "parts": [part(p) for p in mail.walk() if not p.is_multipart()],
                  "defects": [str(d) for p in mail.walk() for d in p.defects]}))
"#;

/// How a secure server is entered.
pub const USER: &str = "watch";
/// Its password.
pub const PASSWORD: &str = "pass word";

/// The mail server.
pub struct MailServer {
    /// Its port on 127.0.0.1.
    pub port: u16,
    log: PathBuf,
    secure: Option<Pair>,
    process: Option<Process>,
}

impl MailServer {
    /// Starts it and waits until it accepts connections.
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, None).await
    }

    /// The same with this certificate; it takes mails by STARTTLS from [`USER`] with [`PASSWORD`] only.
    pub async fn start_secure(dir: &Path, pair: Pair) -> Self {
        Self::start_with(dir, Some(pair)).await
    }

    async fn start_with(dir: &Path, secure: Option<Pair>) -> Self {
        let log = dir.join("mail.log");
        let mut server = Self { port: ports::free(), log, secure, process: None };
        server.start_again().await;
        server
    }

    /// Kills it: nobody takes mails any more.
    pub fn stop(&mut self) {
        drop(self.process.take());
    }

    /// Starts it on the same port, with what it has received.
    pub async fn start_again(&mut self) {
        let python = python();
        assert!(
            python.exists(),
            "{} is missing: `cargo xtask peers` makes it, with aiosmtpd",
            python.display()
        );
        let mut command = Command::new(python);
        let port = self.port.to_string();
        match &self.secure {
            None => {
                command.args(["-u", "-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{port}")]);
                command.args(["-c", "aiosmtpd.handlers.Debugging", "stdout"]);
            }
            Some(pair) => {
                command.args(["-u", "-c", SECURE]).arg(&pair.cert).arg(&pair.key);
                command.args([&port, USER, PASSWORD]);
            }
        }
        self.process = Some(Process::spawn("aiosmtpd", command, &self.log));
        let port = self.port;
        eventually("aiosmtpd", Duration::from_secs(20), async || {
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|e| e.to_string())
        })
        .await;
    }

    /// The mails received so far, headers and body as they came.
    pub fn mails(&self) -> Vec<String> {
        let output = std::fs::read_to_string(&self.log).unwrap_or_default();
        let parts = output.split("---------- MESSAGE FOLLOWS ----------").skip(1);
        let whole =
            parts.filter_map(|part| part.split_once("------------ END MESSAGE ------------"));
        whole.map(|(mail, _)| mail.trim().to_owned()).collect()
    }

    /// Waits for a mail that holds every one of `words`.
    pub async fn wait(&self, words: &[&str], within: Duration) -> String {
        eventually(&format!("a mail with {words:?}"), within, async || {
            let mails = self.mails();
            let found = mails.iter().find(|mail| words.iter().all(|word| mail.contains(word)));
            ensure(found.is_some(), || format!("there are {mails:#?}"))?;
            Ok(found.cloned().unwrap_or_default())
        })
        .await
    }
}

/// A mail as another library reads it: `subject`, `to`, `id`, `references`, `parts` with `type`, `text` and `id`.
///
/// # Panics
/// When that library cannot read it.
pub fn read(mail: &str) -> Value {
    let mut child = Command::new("python3")
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    child.stdin.take().expect("piped").write_all(mail.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{mail}");
    let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(read["defects"].as_array().map(Vec::len), Some(0), "{read}");
    read
}

/// The text of the part of this type.
pub fn part<'a>(mail: &'a Value, kind: &str) -> &'a Value {
    let mut parts = mail["parts"].as_array().into_iter().flatten();
    parts.find(|part| part["type"] == kind).unwrap_or_else(|| panic!("{kind}: {mail}"))
}

/// The Python environment that `cargo xtask peers` makes.
pub fn python() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../venv/bin/python")
}
