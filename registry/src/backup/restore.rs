//! Makes a member's data directory of a backup: a new cluster, with the keys, revisions, versions, leases and users of
//! the old one, and none of its members.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use prost::Message;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    BackupError,
    read::{Reader, Summary, verify},
};
use crate::{
    config::RegistryConfig,
    identity::Identity,
    mvcc::{ALARM, APPLIED, LAST_MEMBER_ID, MEMBER, Table, Write},
    raft::{at_beginning, begin_log},
    schema::{Applied, LastMemberId},
    store,
    wal::{LogStore, WalMetrics, WalOptions},
};

/// Highest revision to go on from: what is above is for the years to come.
const REVISION_MAX: i64 = 1 << 62;

/// What to restore, and as whom.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The backup.
    pub file: PathBuf,
    /// The member's data directory (`RegistryConfig::data_dir`): it must not exist, or be empty.
    pub data_dir: PathBuf,
    /// This member.
    pub node_id: u64,
    /// Every member of the new cluster, this one included: id → `host:port` of its peer listener.
    pub initial_cluster: BTreeMap<u64, String>,
    /// Tells apart clusters that are restored from the same file with the same members.
    pub cluster_token: String,
    /// Added to the revision, so that it is above whatever clients of the old cluster have seen.
    pub bump_revision: i64,
    /// Marks everything up to the new revision as compacted, so that watches begin anew.
    pub mark_compacted: bool,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What the backup held.
    pub backup: Summary,
    /// The revision to go on from.
    pub revision: i64,
    /// The new cluster's id.
    pub cluster_id: u64,
}

/// Restores one member. Run it for each of them, with the same file and the same settings.
///
/// # Errors
/// When the settings contradict each other, the directory is not empty, the backup is damaged, or the disk does not
/// take it. The directory then stays as it was.
pub async fn restore(options: RestoreOptions) -> Result<Restored, BackupError> {
    check(&options)?;
    let dir = unfinished(&options.data_dir);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(BackupError::Write { path: dir, source: error });
        }
        _ => {}
    }
    let restored = write(&options, &dir).await;
    if restored.is_err() {
        // What is left of it is removed by the next one, if not here.
        let _ = fs::remove_dir_all(&dir);
    }
    restored
}

/// Where a restore is written until it is whole: `data/registry.restoring` for `data/registry`.
fn unfinished(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    data_dir.with_file_name(name)
}

fn check(options: &RestoreOptions) -> Result<(), BackupError> {
    if options.bump_revision < 0 {
        return Err(BackupError::Request("bump-revision is negative: a revision grows".to_owned()));
    }
    if (options.bump_revision > 0) != options.mark_compacted {
        return Err(BackupError::Request(
            "bump-revision and mark-compacted go together: the revisions in between never were"
                .to_owned(),
        ));
    }
    let config = RegistryConfig {
        node_id: options.node_id,
        initial_cluster: options.initial_cluster.clone(),
        ..RegistryConfig::default()
    };
    config.validate().map_err(|invalid| {
        let words = invalid.iter().map(|i| format!("{}: {}", i.path, i.message));
        BackupError::Request(words.collect::<Vec<_>>().join("; "))
    })?;
    let found = fs::read_dir(&options.data_dir).map(|mut entries| entries.next().is_some());
    match found {
        Ok(true) => Err(BackupError::Occupied { path: options.data_dir.clone() }),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BackupError::Write { path: options.data_dir.clone(), source }),
    }
}

async fn write(options: &RestoreOptions, dir: &Path) -> Result<Restored, BackupError> {
    let file = options.file.clone();
    // Whole before a byte is written.
    let backup = blocking(move || verify(&file.display().to_string(), open(&file)?)).await?;
    let bump = options.bump_revision;
    if backup.revision.checked_add(bump).is_none_or(|revision| revision > REVISION_MAX) {
        return Err(BackupError::Request(format!(
            "bump-revision {bump} on top of the backup's revision {} goes beyond {REVISION_MAX}: give less, such as \
             1000000000",
            backup.revision
        )));
    }
    let (file, state, options_) = (options.file.clone(), dir.join("state"), options.clone());
    let applied = blocking(move || write_state(&file, &state, &options_)).await?;

    let metrics = WalMetrics::new(&prometheus::Registry::new());
    let metrics = metrics.map_err(|e| BackupError::State(e.to_string()))?;
    let wal = WalOptions::new(StdRng::from_os_rng().random());
    let log_dir = dir.join("log");
    let log = blocking(move || {
        LogStore::open(&log_dir, wal, metrics).map_err(|e| BackupError::State(e.to_string()))
    });
    let failed = |e: std::io::Error| BackupError::State(e.to_string());
    begin_log(log.await?, &applied).await.map_err(failed)?;

    let identity = Identity::restored(
        options.node_id,
        &options.initial_cluster,
        &format!("{} {}", backup.sha256, options.cluster_token),
    );
    identity.write(dir).map_err(|e| BackupError::State(e.to_string()))?;
    let target = &options.data_dir;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let failed = |source| BackupError::Write { path: target.clone(), source };
    // An empty directory may be there: a rename replaces it.
    fs::rename(dir, target).map_err(failed)?;
    File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(Restored { backup, revision: applied.revision, cluster_id: identity.cluster_id() })
}

fn write_state(
    file: &Path,
    state: &Path,
    options: &RestoreOptions,
) -> Result<Applied, BackupError> {
    let name = file.display().to_string();
    // The revision stands behind the rows, but it is needed with the last of them only.
    let mut applied = Reader::open(&name, open(file)?)?.finish()?.1;
    applied.alarms = 0;
    applied.revision += options.bump_revision;
    if options.mark_compacted {
        applied.compact_revision = applied.revision;
    }
    let applied = at_beginning(applied, &options.initial_cluster)
        .map_err(|e| BackupError::State(e.to_string()))?;
    let mut reader = Reader::open(&name, open(file)?)?;
    store::create(state, &applied, || {
        let rows = reader.next_rows()?;
        let last_id = options.initial_cluster.keys().max().copied().unwrap_or_default();
        let kept =
            |rows: Vec<Write>| rows.into_iter().filter_map(|row| kept(row, last_id)).collect();
        Ok::<_, BackupError>(rows.map(kept))
    })?;
    Ok(applied)
}

/// Members and their alarms belong to the old cluster; the new one counts its members anew.
fn kept(row: Write, last_id: u64) -> Option<Write> {
    if row.table != Table::Meta {
        return Some(row);
    }
    if row.key == LAST_MEMBER_ID {
        let value = LastMemberId { id: last_id }.encode_to_vec();
        return Some(Write { value: Some(value.into()), ..row });
    }
    let gone = row.key == APPLIED || row.key.starts_with(MEMBER) || row.key.starts_with(ALARM);
    (!gone).then_some(row)
}

fn open(file: &Path) -> Result<BufReader<File>, BackupError> {
    let name = || file.display().to_string();
    let opened = File::open(file).map_err(|source| BackupError::Read { file: name(), source })?;
    Ok(BufReader::with_capacity(1 << 20, opened))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| BackupError::State(e.to_string()))?
}
