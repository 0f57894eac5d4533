//! Every test: first those of one crate at a time, then those that start processes, two at once, and last those that want
//! the machine for themselves.

use std::{
    collections::{BTreeSet, VecDeque},
    env,
    fs::{self, File},
    io::{self, Write},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use crate::{
    command::{self, cargo, cargo_program, target_dir},
    peers, structure,
};

/// End-to-end tests wait more than they work; more at once than this and two cores distort their clocks.
const PROCESS_TESTS_AT_ONCE: usize = 2;

/// They keep all cores busy, or judge times while somebody does: nothing runs beside them.
const ALONE: [&str; 5] =
    ["differential", "e2e_backup", "e2e_durability", "e2e_linearizability", "e2e_soak"];

/// Their tests hardly work and wait for time to pass: two of them at once are no more than one.
const TOGETHER: [&str; 2] = ["e2e_slo", "room"];

/// Makes sure of the peers, then runs everything, or what the arguments choose.
pub(crate) fn test(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        peers::ensure()?;
        return cargo(&["test", "--workspace"], args);
    }
    let mut files = files()?;
    for name in ALONE {
        if !files.remove(name) {
            return Err(format!("xtask/src/test.rs: there is no test file {name}: remove it"));
        }
    }
    // At once, so that no test waits for a compiler. Where clippy compiles (`.ci/run`) all of it, so that all is judged.
    let judged = env::var_os("RUSTC_WORKSPACE_WRAPPER").is_some();
    let targets: &[&str] =
        if judged { &["--all-targets"] } else { &["--lib", "--bins", "--test", "*"] };
    let build = [&["test", "--workspace", "--no-run"], targets].concat();
    peers::ensure_compiler()?;
    // The other peers come while it compiles: that is another kind of waiting.
    let (built, peers) = thread::scope(|scope| {
        let peers = scope.spawn(peers::ensure);
        (cargo(&build, &[]), peers.join())
    });
    built?;
    peers.map_err(|_| "installing the peers panicked")??;
    // All of what fails, not only the first.
    let units = cargo(&["test", "--workspace", "--no-fail-fast", "--lib", "--bins"], &[]);
    let mut failed = two_at_once(files)?;
    failed.extend(units.err().map(|_| "unit tests".to_owned()));
    for name in ALONE {
        let at_once = format!("--test-threads={PROCESS_TESTS_AT_ONCE}");
        let ran = cargo(&arguments(name, &at_once), &[]);
        failed.extend(ran.err().map(|_| name.to_owned()));
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("tests failed in: {}", failed.join(", ")))
}

fn arguments<'a>(name: &'a str, at_once: &'a str) -> [&'a str; 7] {
    ["test", "--workspace", "--no-fail-fast", "--test", name, "--", at_once]
}

/// The names of all files with tests in a folder `tests`, as cargo finds them.
fn files() -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    for folder in structure::crates() {
        let folder = command::root().join(folder).join("tests");
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
            let is_file = path.extension().is_some_and(|extension| extension == "rs");
            if is_file || path.join("main.rs").exists() {
                found.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
    }
    Ok(found)
}

/// Runs these files side by side, each with one test at a time. What each prints is shown whole, when it has ended. Gives
/// those that fail.
fn two_at_once(files: BTreeSet<String>) -> Result<Vec<String>, String> {
    let waiting = Mutex::new(files.into_iter().collect::<VecDeque<_>>());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let lane = || {
        let mut failed = Vec::new();
        while let Some(name) = next() {
            if !show(&name)? {
                failed.push(name);
            }
        }
        Ok::<_, String>(failed)
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..PROCESS_TESTS_AT_ONCE).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut failed = Vec::new();
    for lane in ended {
        failed.extend(lane.map_err(|_| "a lane of tests panicked")??);
    }
    Ok(failed)
}

/// Runs a file's tests and shows what it printed; whether it went well. It prints into a file: what it leaves running may
/// hold that as long as it likes.
fn show(name: &str) -> Result<bool, String> {
    let folder = target_dir().join("test-logs");
    let log = folder.join(name).with_extension("log");
    let of_log = |e: io::Error| format!("{}: {e}", log.display());
    fs::create_dir_all(&folder).map_err(of_log)?;
    let file = File::create(&log).map_err(of_log)?;
    let at_once = if TOGETHER.contains(&name) { "--test-threads=2" } else { "--test-threads=1" };
    let mut command = cargo_program(&arguments(name, at_once));
    command.stdout(file.try_clone().map_err(of_log)?).stderr(file);
    let begun = Instant::now();
    let status = command.status().map_err(|e| format!("cargo did not start: {e}"))?;
    let said = fs::read(&log).map_err(of_log)?;
    let mut out = io::stdout().lock();
    writeln!(out, "$ {}", command::show(&command))
        .and_then(|()| out.write_all(&said))
        .and_then(|()| writeln!(out, "{name}: {:.0?}", begun.elapsed()))
        .and_then(|()| out.flush())
        .map_err(|e| format!("standard output: {e}"))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_file_is_found() {
        let found = files().expect("files");
        for name in ["config", "store", "member"].iter().chain(&ALONE).chain(&TOGETHER) {
            assert!(found.contains(*name), "{name}: {found:?}");
        }
        for folder in ["common", "soak", "data", "support", "snapshots"] {
            assert!(!found.contains(folder), "{folder} has no tests of its own");
        }
    }
}
