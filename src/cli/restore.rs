//! `watchkeep restore`.

use std::path::PathBuf;

use clap::Args;
use watchkeep_registry::backup::{RestoreOptions, restore};

use crate::{config, out};

/// Arguments of `watchkeep restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the node will keep its data; it must have no registry yet
    #[arg(long, value_name = "DIR", default_value = "./watchkeep-data")]
    data_dir: PathBuf,
    /// The node's number in the new cluster
    #[arg(long, value_name = "N", default_value_t = 1)]
    node_id: u64,
    /// Every member of the new cluster: 1=10.0.0.1:2380,2=10.0.0.2:2380,3=10.0.0.3:2380
    #[arg(
        long,
        value_name = "ID=HOST:PORT,…",
        value_delimiter = ',',
        value_parser = config::member,
        default_value = "1=127.0.0.1:2380"
    )]
    initial_cluster: Vec<(u64, String)>,
    /// A word that tells this cluster from others restored of the same file for the same members
    #[arg(long, value_name = "WORD", default_value = "")]
    cluster_token: String,
    /// Add so much to the revision, so that it is above what any client has seen
    #[arg(long, value_name = "N", default_value_t = 0)]
    bump_revision: i64,
    /// Mark everything as compacted, so that watches begin anew (with --bump-revision only)
    #[arg(long)]
    mark_compacted: bool,
}

impl Restore {
    /// Restores one node.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let members: Vec<String> =
            self.initial_cluster.iter().map(|(id, address)| format!("{id}={address}")).collect();
        let options = RestoreOptions {
            file: self.file,
            data_dir: self.data_dir.join("registry"),
            node_id: self.node_id,
            initial_cluster: self.initial_cluster.into_iter().collect(),
            cluster_token: self.cluster_token,
            bump_revision: self.bump_revision,
            mark_compacted: self.mark_compacted,
        };
        let restored = restore(options).await?;
        out::line(format_args!("restored    {}", self.data_dir.display()));
        for (name, value) in super::backup::lines(&restored.backup) {
            out::line(format_args!("{name:<11} {value}"));
        }
        out::line(format_args!("new cluster {:016x}", restored.cluster_id));
        out::line(format_args!("goes on at  revision {}", restored.revision));
        let next = match members.len() {
            1 => "start it, with the addresses and the configuration that it is to have:",
            _ => "restore the other members with the same file and settings, then start each:",
        };
        out::line(format_args!(
            "{next}\n  watchkeep serve --data-dir {} --node-id {} --initial-cluster {}",
            self.data_dir.display(),
            self.node_id,
            members.join(",")
        ));
        Ok(())
    }
}
