//! Whose data directory it is: written once, checked at every start, so that no member ever opens another's.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{config::RegistryConfig, error::StartError};

const FILE: &str = "identity.json";
/// Format of the directory.
const FORMAT: u32 = 1;

/// A member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    format: u32,
    /// Hexadecimal.
    cluster: String,
    node: u64,
}

impl Identity {
    /// What the settings say: the cluster is known by the members it begins with, as etcd does it.
    pub(crate) fn of(config: &RegistryConfig) -> Self {
        let mut hash = Sha256::new();
        for (id, address) in &config.initial_cluster {
            hash.update(format!("{id}={address},"));
        }
        let digest = hash.finalize();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        Self {
            format: FORMAT,
            cluster: format!("{:016x}", u64::from_be_bytes(id)),
            node: config.node_id,
        }
    }

    pub(crate) fn cluster_id(&self) -> u64 {
        u64::from_str_radix(&self.cluster, 16).unwrap_or_default()
    }

    /// Whether the directory is new; refuses one of another member or cluster.
    pub(crate) fn check(&self, dir: &Path) -> Result<bool, StartError> {
        let path = dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(StartError::io(path)(error)),
        };
        let found: Self = serde_json::from_str(&text).map_err(|e| {
            StartError::State(format!("{}: {e}; restore the directory", path.display()))
        })?;
        if found == *self {
            return Ok(false);
        }
        Err(StartError::Foreign {
            path: dir.to_owned(),
            found: found.words(),
            expected: self.words(),
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
