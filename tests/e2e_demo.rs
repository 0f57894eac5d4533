//! `watchkeep demo` does what it promises: it exits with 0 and prints each step with its milliseconds.

use std::{process::Command, time::Duration};

use tempfile::TempDir;

mod common;
use common::{cluster::WATCHKEEP, process::Process};

/// Two faults, two recoveries and an election, with room for a busy machine.
const LONG: Duration = Duration::from_secs(180);

#[test]
fn every_step_happens() {
    let dir = TempDir::new().expect("temporary folder");
    let mut command = Command::new(WATCHKEEP);
    command.arg("demo").current_dir(dir.path());
    let mut demo = Process::spawn("watchkeep demo", command, &dir.path().join("log"));
    let status = demo.wait(LONG);
    let output = demo.output();
    assert!(status.success(), "{status}\n{output}");
    let lower = output.to_lowercase();
    for step in [
        "fault",
        "first failed probe",
        "verdict",
        "callback delivered",
        "page delivered",
        "acknowledged",
        "new leader",
        "slo before",
        "slo after",
    ] {
        assert!(lower.contains(step), "{step:?} is not in\n{output}");
    }
    assert!(lower.matches(" ms").count() >= 7, "{output}");
}
