//! A primary and its standby with pgbench on them, the fenced receiver of `examples/` beside the standby, and one failover
//! with the moment of each step.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Cluster, eventually, http, ports,
    postgres::{BIN, Pgbench, Postgres, give, unprivileged},
    process::Process,
    wait::ensure,
};

/// What signs the callbacks.
pub const SECRET: &str = "the secret of the fence";
/// Everything between the fault and the first write takes less, on a busy machine, too.
const LONG: Duration = Duration::from_secs(60);

/// The moments of one failover.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    /// SIGKILL of the primary.
    pub killed: DateTime<Utc>,
    /// The verdict's own time.
    pub verdict: DateTime<Utc>,
    /// The callback is at the receiver, its body read.
    pub callback: DateTime<Utc>,
    /// `pg_ctl promote` has ended.
    pub promoted: DateTime<Utc>,
    /// The first transaction that the new primary committed for a client began.
    pub written: DateTime<Utc>,
}

/// All of it.
pub struct Pair {
    /// Takes writes, until it is killed.
    pub primary: Postgres,
    /// Follows it.
    pub standby: Postgres,
    /// The receiver's URL.
    pub url: String,
    /// Writes.
    pub pgbench: Option<Pgbench>,
    fence: Process,
    dir: TempDir,
}

impl Pair {
    /// Starts servers, pgbench and the receiver.
    pub async fn start() -> Self {
        let dir = TempDir::with_prefix("watchkeep-postgres-").expect("temporary folder");
        give(dir.path());
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fenced-receiver");
        for name in ["fence.py", "promote.sh", "check_primary.sh"] {
            fs::copy(examples.join(name), dir.path().join(name)).expect("the example");
            give(&dir.path().join(name));
        }
        let secret = dir.path().join("secret");
        fs::write(&secret, SECRET).expect("secret");
        give(&secret);
        let primary = Postgres::primary(dir.path(), "pg-1").await;
        let standby = Postgres::standby(dir.path(), "pg-2", &primary).await;
        let pgbench = Pgbench::start(dir.path(), &primary, &standby);
        let at = format!("127.0.0.1:{}", ports::free());
        let mut command = unprivileged("python3");
        command.arg("-u").arg(dir.path().join("fence.py")).args(["receive", "--listen", &at]);
        command.arg("--state").arg(dir.path().join("fence"));
        command.arg("--secret-file").arg(&secret).arg("--").arg(dir.path().join("promote.sh"));
        command.env("PGDATA", &standby.data).env("TOKEN_FILE", dir.path().join("pg-2.token"));
        command.env("PG_CTL", format!("{BIN}/pg_ctl"));
        let fence = Process::spawn("fence.py", command, &dir.path().join("fence.log"));
        let pair = Self {
            primary,
            standby,
            url: format!("http://{at}"),
            pgbench: Some(pgbench),
            fence,
            dir,
        };
        eventually("the receiver", LONG, async || {
            let said = pair.fence.output();
            ensure(said.contains("\"ready\""), || said)
        })
        .await;
        pair
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Configuration of a cluster that watches it: the failover's policy, and who may run the check.
    pub fn sections(&self) -> [(&'static str, Value); 2] {
        let alerting = json!({"failover": [{
            "name": "db", "when": {"service": "db", "role": "primary"},
            "callback": {"url": format!("{}/failover", self.url), "timeout_ms": 15_000,
                         "secret_file": self.dir().join("secret")},
        }]});
        [("alerting", alerting), ("collector", json!({"scripts": {"dir": self.dir()}}))]
    }

    /// Registers the primary, with a check that asks it whether it is one, and waits until it is watched and written to.
    pub async fn watch(&self, cluster: &Cluster, interval_ms: u64) {
        let instance = json!({
            "id": "pg-1", "address": "127.0.0.1", "port": self.primary.port, "role": "primary",
            "checks": [{
                "name": "primary", "interval_ms": interval_ms, "timeout_ms": 2_000, "fall": 2,
                "script": {"command": "check_primary.sh", "args": ["$ADDRESS$", "$PORT$"],
                           "env": {"PGUSER": "postgres"}},
            }],
        });
        cluster.nodes[0].register("db", &instance).await;
        cluster.nodes[0].verdict("db", "pg-1", "passing", LONG).await;
        eventually("pgbench writes", LONG, async || {
            let count = self.primary.sql("SELECT count(*) FROM pgbench_history")?;
            ensure(count.parse::<u64>().is_ok_and(|count| count > 20), || count)
        })
        .await;
    }

    /// Kills the primary, and waits until the other one takes writes.
    pub async fn fail_over(&mut self, cluster: &Cluster) -> Moments {
        let killed = Utc::now();
        self.primary.kill();
        let verdict = cluster.nodes[0].verdict("db", "pg-1", "critical", LONG).await;
        let state = eventually("the callback is done", LONG, async || {
            let state = self.state();
            ensure(state["done"] == true && state["token"].as_i64() > Some(0), || {
                format!("{state}: {}", self.fence.output())
            })?;
            Ok(state)
        })
        .await;
        let callback = time(&state["received_at"]);
        // What came before the callback was of the old primary.
        let first = format!(
            "SELECT to_char(min(mtime), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM pgbench_history WHERE mtime > '{}'",
            callback.naive_utc()
        );
        let written = eventually("writes are back", LONG, async || {
            let first = self.standby.sql(&first)?;
            ensure(!first.is_empty(), || "none yet".to_owned())?;
            Ok(time(&json!(first)))
        })
        .await;
        let (verdict, promoted) = (time(&verdict["since"]), time(&state["done_at"]));
        Moments { killed, verdict, callback, promoted, written }
    }

    /// What the receiver keeps of the service.
    pub fn state(&self) -> Value {
        let text = fs::read_to_string(self.dir().join("fence/db.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The failover's record.
    pub async fn failover(&self, cluster: &Cluster) -> Value {
        let id = self.state()["key"].as_str().expect("its idempotency key").to_owned();
        http::get(&cluster.nodes[0].url(&format!("/v1/failovers/{id}"))).await.expect("the record")
    }

    /// `fence.py claim` or `guard` for an instance, ready to start.
    pub fn fence(&self, task: &str, token_file: &Path) -> Command {
        let mut command = unprivileged("python3");
        command.arg("-u").arg(self.dir().join("fence.py")).arg(task);
        command.args(["--url", &self.url, "--service", "db", "--token-file"]).arg(token_file);
        command
    }

    /// Whether an instance with this token file may start as primary, and what is said.
    pub fn claim(&self, token_file: &str) -> (bool, String) {
        let path: PathBuf = self.dir().join(token_file);
        let Output { status, stdout, .. } = self.fence("claim", &path).output().expect("python3");
        (status.success(), String::from_utf8_lossy(&stdout).into_owned())
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}
