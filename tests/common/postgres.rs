//! Real PostgreSQL servers, a primary and its standby, and pgbench that writes as long as somebody takes writes.
//! PostgreSQL refuses to run as root: then it runs as the user `postgres` that its package makes.

use std::{
    fs,
    io::Write,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{eventually, ports, process::Process, wait::ensure};

/// Where the package puts its programs.
pub const BIN: &str = "/usr/lib/postgresql/15/bin";
/// Where that user finds programs.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The unprivileged user, where we are root.
const USER: &str = "postgres";
/// A server starts and catches up in this time.
const START: Duration = Duration::from_secs(30);

/// What every server is told; small, and the same in all time zones.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
timezone = 'UTC'
shared_buffers = 16MB
max_connections = 40
wal_level = replica
hot_standby = on
wal_keep_size = 128MB
wal_sender_timeout = 5s
";

/// The ids of the user that servers run as; none where we are not root and run them ourselves.
fn user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().expect("id");
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse::<u32>().unwrap_or_else(|_| {
            panic!("id {args:?}: {output:?}; `cargo xtask peers` installs postgresql")
        })
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", USER]), id(&["-g", USER])))
}

/// A program that runs as that user.
pub fn unprivileged(program: impl AsRef<Path>) -> Command {
    match user() {
        None => Command::new(program.as_ref()),
        Some((uid, gid)) => {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={uid}")).arg(format!("--regid={gid}"));
            command.arg("--clear-groups").arg(program.as_ref());
            // What root has on its own path that user may not be allowed to see.
            command.env("PATH", PATH).env("HOME", "/");
            command
        }
    }
}

/// Gives a file or folder to that user.
pub fn give(path: &Path) {
    if let Some((uid, gid)) = user() {
        chown(path, Some(uid), Some(gid)).expect("given to postgres");
    }
}

fn run(mut command: Command) {
    let output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A server.
pub struct Postgres {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Its data.
    pub data: PathBuf,
    name: String,
    process: Option<Process>,
}

impl Postgres {
    /// A primary of its own under `dir`, which is that user's.
    pub async fn primary(dir: &Path, name: &str) -> Self {
        let mut server = Self::new(dir, name);
        let mut initdb = unprivileged(format!("{BIN}/initdb"));
        initdb.arg("-D").arg(&server.data).args(["-U", USER, "--auth=trust", "--no-sync"]);
        initdb.args(["--encoding=UTF8", "--locale=C", "--no-instructions"]);
        run(initdb);
        server.set(SETTINGS);
        server.start().await;
        server
    }

    /// A standby of `primary`, which from now on waits for it before it says that anything is committed.
    pub async fn standby(dir: &Path, name: &str, primary: &Self) -> Self {
        let mut server = Self::new(dir, name);
        let from =
            format!("host=127.0.0.1 port={} user={USER} application_name=standby", primary.port);
        let mut copy = unprivileged(format!("{BIN}/pg_basebackup"));
        copy.arg("-D").arg(&server.data).args(["-d", &from, "-R", "-X", "stream"]);
        run({
            copy.args(["--checkpoint=fast", "--no-sync"]);
            copy
        });
        server.set("");
        server.start().await;
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'").expect("set");
        primary.sql("SELECT pg_reload_conf()").expect("reloaded");
        eventually("the standby is synchronous", START, async || {
            let state = primary.sql("SELECT sync_state FROM pg_stat_replication")?;
            ensure(state == "sync", || format!("{state:?}"))
        })
        .await;
        server
    }

    fn new(dir: &Path, name: &str) -> Self {
        let data = dir.join(name);
        Self { port: ports::free(), data, name: name.to_owned(), process: None }
    }

    /// Puts settings, and its port, at the end of its configuration: the last word counts.
    fn set(&self, settings: &str) {
        let path = self.data.join("postgresql.conf");
        let mut file = fs::OpenOptions::new().append(true).open(&path).expect("postgresql.conf");
        write!(file, "{settings}\nport = {}\n", self.port).expect("written");
    }

    /// Starts it and waits until it answers.
    pub async fn start(&mut self) {
        self.spawn();
        eventually(&self.name, START, async || self.sql("SELECT 1").map(drop)).await;
    }

    /// Starts it and waits for nothing.
    pub fn spawn(&mut self) {
        let mut command = unprivileged(format!("{BIN}/postgres"));
        command.arg("-D").arg(&self.data);
        let log = self.data.with_extension("log");
        self.process = Some(Process::spawn(&self.name, command, &log));
    }

    /// SIGKILL: to the postmaster, as the kernel does it when memory is short. Its children follow by themselves.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// The answer to a statement as `psql` prints it, without a frame.
    ///
    /// # Errors
    /// What `psql` says when the server does not answer or refuses.
    pub fn sql(&self, statement: &str) -> Result<String, String> {
        let to = format!("host=127.0.0.1 port={} user={USER} dbname=postgres", self.port);
        let mut psql = Command::new(format!("{BIN}/psql"));
        psql.args(["-XAtq", &to, "-c", statement]).env("PGCONNECT_TIMEOUT", "2");
        let output = psql.stdin(Stdio::null()).output().map_err(|e| format!("psql: {e}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

/// pgbench, started again whenever its server is gone: it writes to whichever of two servers takes writes.
pub struct Pgbench {
    stop: Arc<AtomicBool>,
    running: Option<JoinHandle<()>>,
    dir: PathBuf,
}

impl Pgbench {
    /// Fills the tables of `primary` and begins to write, some 200 transactions a second over two connections.
    pub fn start(dir: &Path, primary: &Postgres, standby: &Postgres) -> Self {
        let to = format!("host=127.0.0.1 port={} user={USER} dbname=postgres", primary.port);
        let mut fill = Command::new(format!("{BIN}/pgbench"));
        fill.args(["--initialize", "--quiet", "--scale=1", &to]);
        run(fill);
        let dir = dir.join("pgbench");
        fs::create_dir(&dir).expect("pgbench's folder");
        let to = format!(
            "host=127.0.0.1,127.0.0.1 port={},{} user={USER} dbname=postgres \
             target_session_attrs=read-write connect_timeout=2",
            primary.port, standby.port
        );
        let (stop, folder) = (Arc::new(AtomicBool::new(false)), dir.clone());
        let stopped = Arc::clone(&stop);
        let running = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut command = Command::new(format!("{BIN}/pgbench"));
                command.args([
                    "--no-vacuum",
                    "--client=2",
                    "--rate=200",
                    "--time=600",
                    "--log",
                    &to,
                ]);
                command.current_dir(&folder);
                let mut pgbench = Process::spawn("pgbench", command, &folder.join("output"));
                while pgbench.ended().is_none() && !stopped.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                }
            }
        });
        Self { stop, running: Some(running), dir }
    }

    /// Ends it; the transactions of which it knows that they were committed.
    pub fn end(mut self) -> usize {
        self.halt();
        let files = fs::read_dir(&self.dir).expect("pgbench's folder").map(|f| f.expect("a file"));
        let logs = files.filter(|f| f.file_name().to_string_lossy().starts_with("pgbench_log"));
        // A whole line is a transaction that was answered; the last one of a killed run may be torn.
        logs.map(|f| fs::read_to_string(f.path()).expect("a log").matches('\n').count()).sum()
    }

    fn halt(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(running) = self.running.take() {
            // It ends by itself; where it panicked the test has failed already.
            let _ = running.join();
        }
    }
}

impl Drop for Pgbench {
    fn drop(&mut self) {
        self.halt();
    }
}
