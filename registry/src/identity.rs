//! Whose data directory it is: written once, checked at every start, so that no member ever opens another's.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{config::RegistryConfig, error::StartError};

const FILE: &str = "identity.json";
/// Format of the directory: what lies in it, and how.
const FORMAT: u32 = 2;

/// A member of a cluster. What is written counts from the first start on: the cluster keeps its id when its members
/// change, and the settings then say nothing of it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    format: u32,
    /// Hexadecimal.
    cluster: String,
    node: u64,
    /// Whether it joined a cluster that was there: then it never writes a first log entry of its own.
    #[serde(default)]
    joined: bool,
}

impl Identity {
    /// Of a member with which a cluster begins: the cluster is known by the members it begins with, as etcd does it.
    pub(crate) fn founder(config: &RegistryConfig) -> Self {
        let mut hash = Sha256::new();
        for (id, address) in &config.initial_cluster {
            hash.update(format!("{id}={address},"));
        }
        let digest = hash.finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        let cluster = cluster_words(u64::from_be_bytes(id));
        Self { format: FORMAT, cluster, node: config.node_id, joined: false }
    }

    /// Of a member that joins a cluster.
    pub(crate) fn joining(node: u64, cluster_id: u64) -> Self {
        Self { format: FORMAT, cluster: cluster_words(cluster_id), node, joined: true }
    }

    /// Of a member of a cluster that is restored: of a backup, so that no member of the old cluster, and of another
    /// one that was restored, takes it for its own.
    pub(crate) fn restored(node: u64, members: &BTreeMap<u64, String>, salt: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(format!("restored of {salt}:"));
        for (id, address) in members {
            hash.update(format!("{id}={address},"));
        }
        let digest = hash.finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        let cluster = cluster_words(u64::from_be_bytes(id));
        Self { format: FORMAT, cluster, node, joined: false }
    }

    pub(crate) fn cluster_id(&self) -> u64 {
        u64::from_str_radix(&self.cluster, 16).unwrap_or_default()
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.joined
    }

    /// What is written in the directory; none when it is new. Refuses one of another member.
    pub(crate) fn load(dir: &Path, node: u64) -> Result<Option<Self>, StartError> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StartError::io(path)(error)),
        };
        let found: Self = serde_json::from_str(&text).map_err(|e| {
            StartError::State(format!("{}: {e}; restore the directory", path.display()))
        })?;
        if (found.format, found.node) == (FORMAT, node) {
            return Ok(Some(found));
        }
        if found.format != FORMAT {
            return Err(StartError::Format {
                path: dir.to_owned(),
                found: found.format,
                expected: FORMAT,
            });
        }
        Err(StartError::Foreign {
            path: dir.to_owned(),
            found: found.words(),
            expected: format!("member {node} (format {FORMAT})"),
        })
    }

    /// Marks a new directory as this member's.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), StartError> {
        fs::create_dir_all(dir).map_err(StartError::io(dir))?;
        let path = dir.join(FILE);
        let text = serde_json::to_string(self).map_err(StartError::state)?;
        let new = dir.join(format!("{FILE}.new"));
        fs::write(&new, text).map_err(StartError::io(&new))?;
        fs::File::open(&new).and_then(|file| file.sync_all()).map_err(StartError::io(&new))?;
        fs::rename(&new, &path).map_err(StartError::io(&path))?;
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(StartError::io(dir))
    }

    fn words(&self) -> String {
        format!("member {} of cluster {} (format {})", self.node, self.cluster, self.format)
    }
}

/// A cluster's id as people read it.
pub(crate) fn cluster_words(id: u64) -> String {
    format!("{id:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_counts() {
        let dir = tempfile::tempdir().unwrap();
        let config = RegistryConfig::default();
        assert_eq!(Identity::load(dir.path(), 1).unwrap(), None);
        let founder = Identity::founder(&config);
        founder.write(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path(), 1).unwrap(), Some(founder.clone()));
        let foreign = Identity::load(dir.path(), 2).unwrap_err().to_string();
        assert!(foreign.contains("belongs to member 1 of cluster"), "{foreign}");
        // Written before members could join.
        let old = format!(r#"{{"format":2,"cluster":"{}","node":1}}"#, founder.cluster);
        fs::write(dir.path().join(FILE), old).unwrap();
        assert_eq!(Identity::load(dir.path(), 1).unwrap(), Some(founder));
        let joined = Identity::joining(4, 0xa);
        joined.write(dir.path()).unwrap();
        let read = Identity::load(dir.path(), 4).unwrap().unwrap();
        assert_eq!((read.cluster_id(), read.has_joined()), (10, true));
    }

    #[test]
    fn a_directory_of_another_format_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), r#"{"format":1,"cluster":"00000000000000ff","node":1}"#)
            .unwrap();
        let refused = Identity::load(dir.path(), 1).unwrap_err().to_string();
        assert!(refused.contains("format 1") && refused.contains("format 2"), "{refused}");
    }
}
