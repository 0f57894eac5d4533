//! etcdctl 3.4 as a user runs it.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// A command that speaks to these endpoints (`host:port,host:port`).
pub fn command(endpoints: &str, args: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command.env_clear().env("ETCDCTL_API", "3").env("PATH", "/usr/bin:/bin");
    command.args(["--endpoints", endpoints, "--command-timeout", "10s"]).args(args);
    command
}

/// Runs it with this standard input.
///
/// # Panics
/// When it cannot be started.
pub fn run(endpoints: &str, args: &[&str], input: &str) -> Output {
    let mut child = command(endpoints, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("etcdctl: {e}; `cargo xtask peers` installs it"));
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("write");
    child.wait_with_output().expect("wait")
}

/// What it prints when it succeeds, without the last line break.
///
/// # Panics
/// When it fails.
pub fn ok(endpoints: &str, args: &[&str]) -> String {
    ok_with(endpoints, args, "")
}

/// The same with a standard input.
///
/// # Panics
/// When it fails.
pub fn ok_with(endpoints: &str, args: &[&str], input: &str) -> String {
    let output = run(endpoints, args, input);
    let printed = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    assert!(
        output.status.success(),
        "etcdctl {args:?} at {endpoints}: {}\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}
