//! The Grafana dashboards in `dashboards/`: described here, a file each, and drawn alike.
//!
//! ```text
//! overview.rs, registry.rs, … ─▶ board (what is said) ─▶ grafana, panel (how Grafana writes it) ─▶ json ─▶ dashboards/*.json
//!                                  query (PromQL that many share; job and instance in every selector)
//! ```

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::command::root;

mod alerting;
mod board;
mod failover;
mod grafana;
mod json;
mod overview;
mod panel;
mod probes;
mod query;
mod registry;
mod service;
mod slo;
mod storage;

/// In the order in which docs name them.
fn boards() -> [board::Board; 8] {
    [
        overview::board(),
        registry::board(),
        storage::board(),
        probes::board(),
        service::board(),
        slo::board(),
        alerting::board(),
        failover::board(),
    ]
}

fn folder() -> PathBuf {
    root().join("dashboards")
}

/// Writes them all.
pub(crate) fn write() -> Result<(), String> {
    for board in boards() {
        let path = folder().join(format!("{}.json", board.name));
        fs::write(&path, grafana::document(&board))
            .map_err(|e| format!("{}: {e}", path.display()))?;
        let panels: usize = board.rows.iter().map(|(_, panels)| panels.len()).sum();
        println!("dashboards/{}.json: {panels} panels", board.name);
    }
    Ok(())
}

/// Whether the files say what their sources do; the error lists every one that does not.
pub(crate) fn check() -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for board in boards() {
        let file = format!("{}.json", board.name);
        let written = fs::read_to_string(folder().join(&file)).unwrap_or_default();
        if written != grafana::document(&board) {
            wrong.push(format!(
                "dashboards/{file}: not what xtask/src/dashboards/{}.rs says: cargo xtask dashboards",
                board.name
            ));
        }
        known.insert(file);
    }
    for entry in fs::read_dir(folder()).map_err(|e| format!("dashboards: {e}"))? {
        let name = entry.map_err(|e| format!("dashboards: {e}"))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.ends_with(".json") && !known.contains(&name) {
            wrong.push(format!(
                "dashboards/{name}: has no source in xtask/src/dashboards: remove it"
            ));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_as_their_sources_say() {
        check().unwrap();
    }
}
