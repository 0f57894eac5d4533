//! A small SMTP server: in the clear, with STARTTLS, or TLS from the first byte. It keeps what it is sent.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use super::DEADLINE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    None,
    Starttls,
    Tls,
}

#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) data: String,
    /// What came behind AUTH PLAIN.
    pub(crate) auth: Option<String>,
    pub(crate) encrypted: bool,
}

impl Mail {
    /// A header's value, unfolded.
    pub(crate) fn header(&self, name: &str) -> String {
        let head = self.data.split("\n\n").next().unwrap().replace("\n ", " ");
        let found = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
    }
}

/// How it treats mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Manner {
    Takes,
    /// Answers so to every recipient: `550 5.1.1 no such user`.
    Refuses(&'static str),
    /// Takes connections and says nothing.
    Hangs,
    /// Lets in whoever has this password.
    Asks(&'static str),
}

/// What all conversations share.
#[derive(Clone)]
struct Server {
    mails: mpsc::UnboundedSender<Mail>,
    manner: Arc<Mutex<Manner>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn manner(&self) -> Manner {
        self.manner.lock().unwrap().clone()
    }
}

pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    /// PEM file of the authority behind its certificate.
    pub(crate) ca_file: PathBuf,
    mails: mpsc::UnboundedReceiver<Mail>,
    server: Server,
    _files: TempDir,
}

impl Sink {
    pub(crate) async fn start(mode: Mode) -> Self {
        let files = tempfile::tempdir().unwrap();
        let ca_file = files.path().join("ca.pem");
        let (acceptor, authority) = tls();
        std::fs::write(&ca_file, authority).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, mails) = mpsc::unbounded_channel();
        let server = Server {
            mails: sender,
            manner: Arc::new(Mutex::new(Manner::Takes)),
            connections: Arc::default(),
        };
        let own = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, sender) = (acceptor.clone(), own.clone());
                own.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    if mode == Mode::Tls {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        talk(stream, false, true, true, &sender).await;
                    } else if let Some(stream) =
                        talk(stream, mode == Mode::Starttls, false, true, &sender).await
                    {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        talk(stream, false, true, false, &sender).await;
                    }
                });
            }
        });
        Self { address, ca_file, mails, server, _files: files }
    }

    /// From now on.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.server.manner.lock().unwrap() = manner;
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.server.connections.load(Ordering::SeqCst)
    }

    /// The next mail.
    pub(crate) async fn next(&mut self) -> Mail {
        let next = tokio::time::timeout(DEADLINE, self.mails.recv()).await;
        next.expect("a mail in time").unwrap()
    }
}

/// A server certificate for localhost, and the authority that signed it.
fn tls() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(server_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

/// Whether this is what AUTH PLAIN says with that password.
fn knows(said: &str, password: &str) -> bool {
    let said = STANDARD.decode(said).unwrap();
    String::from_utf8(said).unwrap().rsplit('\0').next() == Some(password)
}

/// One conversation; gives the stream back when the client asks for STARTTLS.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    starttls: bool,
    encrypted: bool,
    greet: bool,
    server: &Server,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    if server.manner() == Manner::Hangs {
        // Until the client goes away.
        while stream.read_line(&mut String::new()).await.ok()? > 0 {}
        return None;
    }
    let (mut from, mut to, mut auth) = (String::new(), String::new(), None);
    if greet {
        stream.write_all(b"220 sink ESMTP\r\n").await.ok()?;
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        let answer = if line.starts_with("EHLO") {
            let more = if starttls { "STARTTLS" } else { "AUTH PLAIN" };
            format!("250-sink\r\n250-8BITMIME\r\n250 {more}\r\n")
        } else if line == "STARTTLS" {
            stream.write_all(b"220 go ahead\r\n").await.ok()?;
            return Some(stream.into_inner());
        } else if let Some(said) = line.strip_prefix("AUTH PLAIN ") {
            auth = Some(said.to_owned());
            match server.manner() {
                Manner::Asks(password) if !knows(said, password) => "535 5.7.8 no\r\n".to_owned(),
                _ => "235 welcome\r\n".to_owned(),
            }
        } else if let Some(said) = line.strip_prefix("MAIL FROM:") {
            from = said.to_owned();
            "250 ok\r\n".to_owned()
        } else if let Some(said) = line.strip_prefix("RCPT TO:") {
            to = said.to_owned();
            match server.manner() {
                Manner::Refuses(answer) => format!("{answer}\r\n"),
                _ => "250 ok\r\n".to_owned(),
            }
        } else if line == "DATA" {
            stream.write_all(b"354 go ahead\r\n").await.ok()?;
            let mut data = String::new();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.ok()? == 0 {
                    return None;
                }
                match line.trim_end_matches(['\r', '\n']) {
                    "." => break,
                    text => data.push_str(text.strip_prefix('.').unwrap_or(text)),
                }
                data.push('\n');
            }
            let mail =
                Mail { from: from.clone(), to: to.clone(), data, auth: auth.clone(), encrypted };
            let _ = server.mails.send(mail);
            "250 taken\r\n".to_owned()
        } else if line == "QUIT" {
            stream.write_all(b"221 bye\r\n").await.ok()?;
            return None;
        } else {
            "250 ok\r\n".to_owned()
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}
