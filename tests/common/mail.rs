//! A real mail server, aiosmtpd from PyPI, that prints what it receives into its log.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{eventually, ports, process::Process, wait::ensure};

/// The mail server.
pub struct MailServer {
    /// Its port on 127.0.0.1.
    pub port: u16,
    process: Process,
}

impl MailServer {
    /// Starts it and waits until it accepts connections.
    pub async fn start(dir: &Path) -> Self {
        let port = ports::free();
        let python = python();
        assert!(
            python.exists(),
            "{} is missing: `cargo xtask peers` makes it, with aiosmtpd",
            python.display()
        );
        let mut command = Command::new(python);
        command.args(["-u", "-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{port}")]);
        command.args(["-c", "aiosmtpd.handlers.Debugging", "stdout"]);
        let process = Process::spawn("aiosmtpd", command, &dir.join("mail.log"));
        eventually("aiosmtpd", Duration::from_secs(20), async || {
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|e| e.to_string())
        })
        .await;
        Self { port, process }
    }

    /// The mails received so far, headers and body as they came.
    pub fn mails(&self) -> Vec<String> {
        let output = self.process.output();
        let parts = output.split("---------- MESSAGE FOLLOWS ----------").skip(1);
        let whole =
            parts.filter_map(|part| part.split_once("------------ END MESSAGE ------------"));
        whole.map(|(mail, _)| mail.trim().to_owned()).collect()
    }

    /// Waits for a mail that holds every one of `words`.
    pub async fn wait(&self, words: &[&str], within: Duration) -> String {
        eventually(&format!("a mail with {words:?}"), within, async || {
            let mails = self.mails();
            let found = mails.iter().find(|mail| words.iter().all(|word| mail.contains(word)));
            ensure(found.is_some(), || format!("there are {mails:#?}"))?;
            Ok(found.cloned().unwrap_or_default())
        })
        .await
    }
}

/// The Python environment that `cargo xtask peers` makes.
pub fn python() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../venv/bin/python")
}
