//! `check` reads and judges, `fix` mends: the first never writes into the work tree.

use crate::{
    command::{cargo, succeeds},
    dashboards, peers, structure,
};

const LINT: [&str; 3] = ["clippy", "--workspace", "--all-targets"];

/// Formatting, structure, lints, and licences where cargo-deny is installed. Without `lints` where the build that follows
/// judges what it compiles, as `.ci/run` has it: all that a lint run of its own compiles is then compiled once only.
pub(crate) fn check(lints: bool) -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    structure::check()?;
    dashboards::check()?;
    if lints {
        peers::compiler()?;
        cargo(&LINT, &["--", "-D", "warnings"].map(String::from))?;
    }
    if succeeds("cargo", &["deny", "--version"]) {
        cargo(&["deny", "--offline", "check", "--hide-inclusion-graph"], &[])?;
    } else {
        println!(
            "licences, advisories: not checked, cargo-deny is not installed (cargo install cargo-deny)"
        );
    }
    println!("check: clean");
    Ok(())
}

/// Formats, and lets clippy mend what it can.
pub(crate) fn fix() -> Result<(), String> {
    peers::compiler()?;
    cargo(&LINT, &["--fix", "--allow-dirty", "--allow-staged"].map(String::from))?;
    cargo(&["fmt", "--all"], &[])
}
