//! Conformance: the cases that Prometheus tests its own engine with, run on ours. They are read from
//! `../shared/promqltest` beside the project or from `PROMQLTEST_DIR`, and are not part of the project.
//!
//! Prints `passed / total` per file and what fails by cause. A count below the recorded one is a failure; without the
//! folder the test says so, and fails only where `CI=true`.

mod compare;
mod load;
mod recorded;
mod report;
mod run;
mod script;

use std::path::{Path, PathBuf};

type Failure = Box<dyn std::error::Error>;

/// The folder of the cases.
fn folder() -> PathBuf {
    match std::env::var_os("PROMQLTEST_DIR") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/promqltest"),
    }
}

#[test]
fn promqltest() -> Result<(), Failure> {
    let folder = folder();
    let Ok(entries) = std::fs::read_dir(&folder) else {
        let message = format!(
            "skipped: {} is not there; put Prometheus's promql test files there or name their folder in \
             PROMQLTEST_DIR",
            folder.display()
        );
        println!("{message}");
        let must = std::env::var("CI").is_ok_and(|ci| ci == "true");
        return if must { Err(message.into()) } else { Ok(()) };
    };
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "test"));
    files.sort();
    let mut report = report::Report::default();
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path)?;
        report.add(&name, run::file(&script::parse(&text)?));
    }
    println!("{report}");
    let fallen = report.fallen(recorded::COUNTS);
    if fallen.is_empty() { Ok(()) } else { Err(fallen.join("\n").into()) }
}
