//! `watchkeep slo` and `watchkeep report`: promises, judged, asked and shown. A file per subcommand.

use clap::Subcommand;

mod check;
mod gate;
mod report;
mod rules;

pub(super) use report::Report;

/// Subcommands of `watchkeep slo`.
#[derive(Debug, Subcommand)]
pub(crate) enum Slo {
    /// Judge OpenSLO documents: every problem as file:line
    Check(check::Check),
    /// Print OpenSLO documents, and the promise of every service, as a Prometheus rule file
    Rules(rules::Rules),
    /// Whether a service's error budget lets a release through; fails (status 1) when it does not
    Gate(gate::Gate),
}

impl Slo {
    /// Runs the subcommand.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Check(check) => check.run(),
            Self::Rules(rules) => rules.run(),
            Self::Gate(gate) => gate.run().await,
        }
    }
}
