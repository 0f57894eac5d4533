//! Which files and variables of its machine a collector uses for a check. Whoever may register a check could
//! otherwise have any file of the collector's machine sent to an address of their own.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use watchkeep_catalog::Secret;

/// How names of variables begin that checks may use.
const ENV_PREFIX: &str = "WATCHKEEP_SECRET_";
/// Longest file that a check may use.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What checks may read.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    /// Nothing: `collector.files_dir` is not set.
    None,
    /// What lies below a directory, symbolic links resolved.
    Below(PathBuf),
    /// Anything: the check was written by whoever configured the collector.
    Any,
}

impl Files {
    /// The file that `field` names.
    ///
    /// # Errors
    /// In words, when there is no such file or it must not be used.
    pub(crate) fn find(&self, field: &str, path: &str) -> Result<PathBuf, String> {
        let cannot = |e: io::Error| format!("{field} {path:?}: {e}");
        match self {
            Self::Any => fs::canonicalize(path).map_err(cannot),
            Self::None => Err(format!(
                "{field} {path:?}: this collector uses no files: set its collector.files_dir"
            )),
            Self::Below(dir) => {
                let dir = fs::canonicalize(dir)
                    .map_err(|e| format!("collector.files_dir {}: {e}", dir.display()))?;
                let found = fs::canonicalize(dir.join(path)).map_err(cannot)?;
                if found.starts_with(&dir) {
                    return Ok(found);
                }
                Err(format!(
                    "{field} {path:?}: it is not below collector.files_dir {}",
                    dir.display()
                ))
            }
        }
    }

    /// Makes a secret ready.
    ///
    /// # Errors
    /// In words, when it cannot be had.
    pub(crate) fn secret(&self, field: &str, secret: &Secret) -> Result<SecretText, String> {
        match secret {
            Secret::Literal(text) => Ok(SecretText::Fixed(text.clone())),
            Secret::Env(name) if matches!(self, Self::Any) || name.starts_with(ENV_PREFIX) => {
                let text = env::var(name);
                text.map(SecretText::Fixed).map_err(|e| format!("{field}: variable {name:?}: {e}"))
            }
            Secret::Env(name) => Err(format!(
                "{field}: variable {name:?} must not be used: its name does not begin with {ENV_PREFIX}"
            )),
            Secret::File(path) => {
                let file = WatchedFile::open(field, self.find(field, path)?)?;
                Ok(SecretText::File(file))
            }
        }
    }
}

/// A file's content, read anew when the file has changed.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    read: Mutex<(Stamp, Vec<u8>)>,
}

/// What tells that a file has changed.
pub(crate) type Stamp = Option<(SystemTime, u64)>;

pub(crate) fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

impl WatchedFile {
    pub(crate) fn open(field: &str, path: PathBuf) -> Result<Self, String> {
        let stamp = stamp(&path);
        let content = read(&path).map_err(|e| format!("{field} {}: {e}", path.display()))?;
        Ok(Self { path, read: Mutex::new((stamp, content)) })
    }

    /// What it says now; when it is gone or cannot be read, what it said before.
    pub(crate) fn content(&self) -> Vec<u8> {
        let now = stamp(&self.path);
        let mut known = self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if now.is_some()
            && now != known.0
            && let Ok(content) = read(&self.path)
        {
            *known = (now, content);
        }
        known.1.clone()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "{bytes} bytes: at most {FILE_BYTES_MAX} are allowed"
        )));
    }
    fs::read(path)
}

/// A secret that can be had.
pub(crate) enum SecretText {
    Fixed(String),
    File(WatchedFile),
}

impl SecretText {
    /// The secret as it is now.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Fixed(text) => text.clone(),
            Self::File(file) => String::from_utf8_lossy(&file.content()).trim_end().to_owned(),
        }
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
