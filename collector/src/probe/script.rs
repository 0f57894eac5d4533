//! The script probe: a program out of one folder, without a shell, in an environment of its own, and not for long.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};
use watchkeep_catalog::ScriptCheck;

use super::{Endpoint, Phase, Stopwatch, connect::io_words};

mod perfdata;

/// Most that a script may print.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
/// Most of its words in a reason.
const WORDS_MAX: usize = 200;
/// Where it finds programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug)]
pub(super) struct ScriptProbe {
    program: PathBuf,
    folder: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    warning_fails: bool,
}

/// Kills the script and all it has started, unless it has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An error says that it has ended.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

impl ScriptProbe {
    /// `folder`: `collector.scripts.dir`.
    ///
    /// # Errors
    /// When scripts are not allowed here, or there is no such file in the folder.
    pub(super) fn new(
        endpoint: &Endpoint,
        check: &ScriptCheck,
        folder: Option<&Path>,
    ) -> Result<Self, String> {
        let folder = folder.ok_or(
            "script: this collector runs no scripts: set collector.scripts.dir to the folder they lie in",
        )?;
        let name = &check.command;
        let at = |e: std::io::Error| {
            format!("script.command {name:?}: {}: {}", folder.display(), io_words(&e))
        };
        let folder_itself = folder.canonicalize().map_err(at)?;
        let program = folder_itself.join(name).canonicalize().map_err(at)?;
        if program.parent() != Some(&*folder_itself) || !program.is_file() {
            return Err(format!(
                "script.command {name:?}: it is no file in {}, but leads to {}",
                folder.display(),
                program.display()
            ));
        }
        let port = endpoint.port.to_string();
        let fill =
            |arg: &String| arg.replace("$ADDRESS$", &endpoint.address).replace("$PORT$", &port);
        Ok(Self {
            program,
            folder: folder_itself,
            args: check.args.iter().map(fill).collect(),
            env: check.env.clone().into_iter().collect(),
            warning_fails: check.warning_fails,
        })
    }

    pub(super) async fn run(&self, watch: &mut Stopwatch) -> Result<String, String> {
        watch.enter(Phase::Processing);
        let name = self.program.display();
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", PATH)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("{name} does not start: {}", io_words(&e)))?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let mut group = Group(leader);
        let stdout = child.stdout.take().ok_or("it has no output")?;
        let read = read(stdout).await?;
        let ended = child.wait().await.map_err(|e| format!("{name}: {}", io_words(&e)))?;
        group.0 = None;
        self.judge(&read, ended, watch)
    }

    fn judge(
        &self,
        output: &[u8],
        ended: ExitStatus,
        watch: &mut Stopwatch,
    ) -> Result<String, String> {
        let (words, measured) = perfdata::read(&String::from_utf8_lossy(output));
        for found in &measured {
            let labels = [("label", &*found.label), ("unit", found.unit)];
            watch.fact_with("probe_script_perfdata", &labels, found.value);
        }
        let words: String = words.chars().take(WORDS_MAX).collect();
        let words = if words.is_empty() { String::new() } else { format!(": {words}") };
        let Some(code) = ended.code() else {
            return Err(format!("killed by a signal ({ended}){words}"));
        };
        watch.fact("probe_script_exit_code", code.into());
        watch.expose("exit_code", code);
        watch.expose("output", String::from_utf8_lossy(output).into_owned());
        match code {
            0 => Ok(format!("ok{words}")),
            1 if !self.warning_fails => Ok(format!("warning{words}")),
            1 => Err(format!("warning{words}")),
            2 => Err(format!("critical{words}")),
            3 => Err(format!("unknown{words}")),
            other => Err(format!("exit code {other}, expected 0 to 3{words}")),
        }
    }
}

/// All that it prints.
async fn read(output: impl AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let mut read = Vec::new();
    let mut limited = output.take(OUTPUT_BYTES_MAX + 1);
    limited.read_to_end(&mut read).await.map_err(|e| format!("its output: {}", io_words(&e)))?;
    if read.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(format!("it prints more than {OUTPUT_BYTES_MAX} bytes"));
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
