//! What tests of probes share: a probe of a port, and real servers to probe.

use std::{
    fs,
    future::Future,
    io::Read,
    net::{TcpListener as Listener, TcpStream as Connection},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Long enough for anything that is going to happen.
pub(super) const LONG_MS: u64 = 10_000;
/// Short enough to wait for what never happens.
pub(super) const SHORT_MS: u64 = 200;

/// A context in which checks may name any file.
pub(super) fn context() -> Arc<Context> {
    Context::new(Policy::default(), Files::Any).expect("roots")
}

/// Makes the check `"tcp":{…}` of a port of this machine ready.
pub(super) fn prober(port: u16, timeout_ms: u64, kind: &str) -> Result<Prober, String> {
    prober_at("127.0.0.1", port, timeout_ms, kind, &context())
}

pub(super) fn prober_at(
    address: &str,
    port: u16,
    timeout_ms: u64,
    kind: &str,
    context: &Arc<Context>,
) -> Result<Prober, String> {
    let check = format!(r#"{{"name":"c","timeout_ms":{timeout_ms},{kind}}}"#);
    let check: Check = serde_json::from_str(&check).unwrap_or_else(|e| panic!("{check}: {e}"));
    check.validate().unwrap_or_else(|e| panic!("{kind}: {e}"));
    Prober::of(address, port, &check, context)
}

/// Probes it once.
pub(super) async fn probe(port: u16, timeout_ms: u64, kind: &str) -> Outcome {
    prober(port, timeout_ms, kind).unwrap_or_else(|e| panic!("{kind}: {e}")).run().await
}

/// What came of it: whether it was good, and the reason with the port left out.
pub(super) async fn said(port: u16, timeout_ms: u64, kind: &str) -> (bool, String) {
    let outcome = probe(port, timeout_ms, kind).await;
    (outcome.good, outcome.reason.replace(&port.to_string(), "PORT"))
}

impl Outcome {
    /// The value of a fact by its name and the values of its labels.
    pub(super) fn fact(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let same = |fact: &&Fact| {
            fact.name == name
                && fact.labels.iter().map(|(_, value)| &**value).eq(labels.iter().copied())
        };
        self.facts.iter().find(same).map(|fact| fact.value)
    }
}

/// Serves every connection with `serve`; answers with the port.
pub(super) async fn serve<F, S>(serve: S) -> u16
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

/// Accepts and says nothing.
pub(super) async fn mute() -> u16 {
    serve(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await
}

/// Resets every connection, once it has heard something.
pub(super) async fn resets() -> u16 {
    serve(|mut stream: TcpStream| async move {
        let _ = stream.read_u8().await;
        let _ = stream.set_zero_linger();
    })
    .await
}

/// Says `begin` at once, and then `then` again and again: with a pause for who drips, without for who has no end.
pub(super) async fn goes_on(begin: &'static [u8], then: &'static [u8], pause: Duration) -> u16 {
    serve(move |stream: TcpStream| go_on(stream, begin, then, pause)).await
}

pub(super) async fn go_on<S: AsyncWrite + Unpin>(
    mut stream: S,
    begin: &[u8],
    then: &[u8],
    pause: Duration,
) {
    let _ = stream.write_all(begin).await;
    while stream.write_all(then).await.is_ok() && stream.flush().await.is_ok() {
        if pause > Duration::ZERO {
            tokio::time::sleep(pause).await;
        }
    }
}

/// Between two drops.
pub(super) const DRIP: Duration = Duration::from_millis(10);
/// And of one who sends without end.
pub(super) const FLOOD: Duration = Duration::ZERO;

/// A port on which nobody listens.
pub(super) fn free_port() -> u16 {
    Listener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("bind").port()
}

/// A certificate for `server.example` and `127.0.0.1`, signed by itself, as files.
pub(super) struct Pki {
    pub(super) dir: TempDir,
}

impl Pki {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        let names = ["server.example".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        fs::write(dir.path().join("cert.pem"), made.cert.pem()).expect("writes");
        fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).expect("writes");
        Self { dir }
    }

    pub(super) fn path(&self, file: &str) -> String {
        self.dir.path().join(file).display().to_string()
    }

    /// A server's side of it.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let chain = CertificateDer::pem_file_iter(self.path("cert.pem")).expect("PEM");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(self.path("key.pem")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        TlsAcceptor::from(Arc::new(config.expect("a pair")))
    }

    /// Settings that trust it.
    pub(super) fn trust(&self) -> String {
        format!(r#"{{"ca_file":"{}"}}"#, self.path("cert.pem"))
    }
}

/// A real program that serves. Dropped, it is killed.
pub(super) struct Server {
    child: Child,
}

impl Server {
    /// Starts it and waits until `port` accepts connections.
    pub(super) fn start(program: &str, args: &[&str], port: u16) -> Self {
        let mut server = Self::spawn(program, args);
        server.wait(port);
        server
    }

    /// Starts it.
    pub(super) fn spawn(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn();
        let child =
            child.unwrap_or_else(|e| panic!("{program}: {e}; `cargo xtask peers` installs it"));
        Self { child }
    }

    /// It is there and does nothing any more.
    pub(super) fn pause(&self) {
        let done = Command::new("kill").args(["-STOP", &self.child.id().to_string()]).status();
        assert!(done.is_ok_and(|status| status.success()), "cannot be stopped");
    }

    /// Waits until `port` accepts connections.
    pub(super) fn wait(&mut self, port: u16) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Connection::connect(("127.0.0.1", port)).is_err() {
            let ended = self.child.try_wait().expect("wait");
            if ended.is_some() || Instant::now() > deadline {
                let _ = self.child.kill();
                let mut said = String::new();
                let _ = self.child.stderr.take().map(|mut e| e.read_to_string(&mut said));
                panic!("nobody serves port {port}: {ended:?} {said}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python environment that `cargo xtask peers` makes, beside the tests' own folder.
pub(super) fn python() -> PathBuf {
    let own = std::env::current_exe().expect("a test");
    let target = own.ancestors().find(|folder| folder.join("venv").exists());
    target.expect("`cargo xtask peers` makes the environment").join("venv/bin/python")
}
