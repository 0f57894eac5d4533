//! The command line: one file per command.

use clap::{Parser, Subcommand};

mod api;
mod backup;
mod check;
mod dashboards;
mod failover;
mod features;
mod incident;
mod login;
mod maintenance;
mod member;
mod migrate;
mod oncall;
mod probe;
mod registry;
mod report;
mod restore;
mod rules;
mod serve;
mod service;
mod slo;
mod users;
mod version;
mod way;

pub(crate) use api::Api;
pub(crate) use serve::stop_token;

/// Service registry, health collector and on-call alerting in one service.
#[derive(Debug, Parser)]
#[command(name = "watchkeep", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node
    Serve(Box<serve::Serve>),
    /// Check a configuration file; start nothing
    Check(check::Check),
    /// Register, remove and list services
    #[command(subcommand)]
    Service(service::Service),
    /// List, add, promote, remove and move members of the registry
    #[command(subcommand)]
    Member(member::Member),
    /// Users of the registry: list, add, passwords, roles
    #[command(subcommand)]
    User(users::User),
    /// Roles and their permissions
    #[command(subcommand)]
    Role(users::Role),
    /// Whether the registry checks users
    #[command(subcommand)]
    Auth(users::Auth),
    /// Copy a live etcd into the registry, and follow it until clients are moved over
    Migrate(migrate::Migrate),
    /// Make one probe by hand and show each phase
    Probe(probe::Probe),
    /// Who is on call when; overrides and swaps
    Oncall(Box<oncall::Oncall>),
    /// List, open, take and resolve incidents
    #[command(subcommand)]
    Incident(incident::Incident),
    /// List, confirm, end, rehearse and replay failovers; stop all of them
    #[command(subcommand)]
    Failover(failover::Failover),
    /// Add, list and end maintenance windows
    #[command(subcommand)]
    Maintenance(maintenance::Maintenance),
    /// Judge and test Prometheus rule files
    #[command(subcommand)]
    Rules(rules::Rules),
    /// Grafana's dashboards: list and export them, and see which panels have data
    #[command(subcommand)]
    Dashboards(dashboards::Dashboards),
    /// Judge OpenSLO documents, print their rules, ask whether a budget lets a release through
    #[command(subcommand)]
    Slo(slo::Slo),
    /// A service's SLO report over any span, as Markdown, JSON, HTML or CSV
    Report(slo::Report),
    /// Back up the registry while it runs, or check a backup
    Backup(backup::Backup),
    /// Make a node's data of a backup: the beginning of a new cluster
    Restore(restore::Restore),
    /// Three nodes, two services and a fault: watch a failover, a page and an election
    Demo(crate::demo::Demo),
    /// What the demo watches
    #[command(hide = true)]
    DemoService(crate::demo::DemoService),
    /// Version of this program
    Version,
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// When it could not do what it was told; the message is for people.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(serve) => serve.run().await,
            Command::Check(check) => check.run(),
            Command::Service(service) => service.run().await,
            Command::Member(member) => member.run().await,
            Command::User(user) => user.run().await,
            Command::Role(role) => role.run().await,
            Command::Auth(auth) => auth.run().await,
            Command::Migrate(migrate) => migrate.run().await,
            Command::Probe(probe) => probe.run().await,
            Command::Oncall(oncall) => oncall.run().await,
            Command::Incident(incident) => incident.run().await,
            Command::Failover(failover) => failover.run().await,
            Command::Maintenance(maintenance) => maintenance.run().await,
            Command::Rules(rules) => rules.run().await,
            Command::Dashboards(dashboards) => dashboards.run().await,
            Command::Slo(slo) => slo.run().await,
            Command::Report(report) => report.run().await,
            Command::Backup(backup) => backup.run().await,
            Command::Restore(restore) => restore.run().await,
            Command::Demo(demo) => demo.run().await,
            Command::DemoService(service) => service.run().await,
            Command::Version => {
                version::run();
                Ok(())
            }
        }
    }
}
