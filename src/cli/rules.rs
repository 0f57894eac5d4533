//! `watchkeep rules`: judging, testing and replaying rule files. A file per subcommand.

use clap::Subcommand;

mod check;
mod history;
#[cfg(test)]
mod pieces;
mod replay;
mod replayed;
mod settings;
mod shape;
mod suite;
mod test;
mod verdict;

/// Subcommands of `watchkeep rules`.
#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Judge Prometheus rule files: every problem as file:line
    Check(check::Check),
    /// Run promtool's unit tests of rules
    Test(test::Test),
    /// What rules would have fired over a running node's history, and whom they would have paged
    Replay(replay::Replay),
}

impl Rules {
    /// Runs the subcommand.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Check(check) => check.run(),
            Self::Test(test) => test.run(),
            Self::Replay(replay) => replay.run().await,
        }
    }
}
