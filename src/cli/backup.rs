//! `watchkeep backup` and `watchkeep backup verify`.

use std::{
    fs::File,
    io::{BufReader, IsTerminal},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use tokio::{fs, io::AsyncWriteExt};
use watchkeep_catalog::Client;
use watchkeep_registry::backup::{Summary, verify};

use super::login::Login;
use crate::out;

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(1);

/// Arguments of `watchkeep backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Backup {
    #[command(subcommand)]
    command: Option<Command>,
    /// Client URLs of the registry; the first that answers is backed up
    #[arg(
        long,
        value_name = "URL,…",
        value_delimiter = ',',
        env = "WATCHKEEP_ENDPOINTS",
        default_value = "http://127.0.0.1:2379"
    )]
    endpoints: Vec<String>,
    #[command(flatten)]
    login: Login,
    /// Where the backup goes; it gets this name when it is whole and checked
    #[arg(long, value_name = "FILE", required = true)]
    out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a backup from end to end and say what it holds
    Verify {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Backup {
    /// Takes a backup, or checks one.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match (self.command, self.out) {
            (Some(Command::Verify { file }), _) => {
                print(&file, &checked(&file).await?);
                Ok(())
            }
            (None, Some(out)) => take(&self.endpoints, &self.login, &out).await,
            (None, None) => anyhow::bail!("--out FILE is missing"),
        }
    }
}

/// Writes beside the file, and gives it its name when it is on the disk and checked.
async fn take(endpoints: &[String], login: &Login, out: &Path) -> anyhow::Result<()> {
    let endpoints: Vec<String> = endpoints.iter().map(|endpoint| url(endpoint)).collect();
    let client = login.client(&endpoints)?;
    let mut name = out.file_name().context("--out is no file name")?.to_owned();
    name.push(".part");
    let part = out.with_file_name(name);
    let taken = async {
        receive(&client, &part).await?;
        let summary = checked(&part).await?;
        fs::rename(&part, out).await.with_context(|| out.display().to_string())?;
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| folder.display().to_string())?;
        anyhow::Ok(summary)
    };
    match taken.await {
        Ok(summary) => {
            print(out, &summary);
            Ok(())
        }
        Err(error) => {
            // What could not be written may not be there.
            let _ = fs::remove_file(&part).await;
            Err(error)
        }
    }
}

/// `host:port` is a URL too.
fn url(endpoint: &str) -> String {
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") }
}

async fn receive(client: &Client, part: &Path) -> anyhow::Result<()> {
    let named = || part.display().to_string();
    // It holds everything, secrets too.
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    let mut file = options.open(part).await.with_context(named)?;
    let mut snapshot = client.snapshot().await?;
    let (mut received, mut said) = (0u64, Instant::now());
    while let Some((piece, remaining)) = snapshot.next().await? {
        file.write_all(&piece).await.with_context(named)?;
        received += piece.len() as u64;
        if said.elapsed() >= PROGRESS && std::io::stderr().is_terminal() {
            eprintln!("{} of about {}", size(received), size(received + remaining));
            said = Instant::now();
        }
    }
    file.sync_all().await.with_context(named)
}

async fn checked(file: &Path) -> anyhow::Result<Summary> {
    let name = file.display().to_string();
    let reading = move || -> anyhow::Result<Summary> {
        let opened = File::open(&name).with_context(|| format!("backup {name}"))?;
        Ok(verify(&name, BufReader::with_capacity(1 << 20, opened))?)
    };
    tokio::task::spawn_blocking(reading).await?
}

fn print(file: &Path, summary: &Summary) {
    out::line(format_args!("backup      {}", file.display()));
    for (name, value) in lines(summary) {
        out::line(format_args!("{name:<11} {value}"));
    }
}

/// What people want to know of a backup.
pub(super) fn lines(summary: &Summary) -> [(&'static str, String); 8] {
    let taken = chrono::DateTime::from_timestamp_millis(summary.taken_ms).unwrap_or_default();
    [
        ("taken", taken.format("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("cluster", format!("{:016x}, member {}", summary.cluster_id, summary.member_id)),
        ("revision", summary.revision.to_string()),
        ("compacted", summary.compact_revision.to_string()),
        ("keys", summary.keys.to_string()),
        ("leases", summary.leases.to_string()),
        ("size", format!("{} bytes", summary.bytes)),
        ("sha256", summary.sha256.clone()),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit behind the point")]
fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
