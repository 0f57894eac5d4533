//! `watchkeep migrate`: copies a live etcd into the registry and follows it until clients are moved over.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use watchkeep_catalog::migrate::{Outcome, Progress, Settings, migrate};

use super::{login::Login, registry::Tls, serve::stop_token};
use crate::out;

/// Between two lines about the same.
const TELL: Duration = Duration::from_secs(1);

/// Arguments of `watchkeep migrate`.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Client URLs of the etcd that is copied
    #[arg(long, value_name = "URL,…", value_delimiter = ',', required = true)]
    from: Vec<String>,
    /// The user of that etcd, where it checks users
    #[arg(
        long,
        value_name = "NAME[:PASSWORD]",
        env = "WATCHKEEP_FROM_USER",
        hide_env_values = true
    )]
    from_user: Option<String>,
    /// With --from-user: a file that holds the password
    #[arg(long, value_name = "FILE", requires = "from_user")]
    from_password_file: Option<PathBuf>,
    /// Client URLs of the registry that is written
    #[arg(
        long,
        value_name = "URL,…",
        value_delimiter = ',',
        env = "WATCHKEEP_ENDPOINTS",
        default_value = "http://127.0.0.1:2379"
    )]
    to: Vec<String>,
    #[command(flatten)]
    login: Login,
    /// Authorities of the certificates of --from (PEM) [default: the public ones]
    #[arg(long, value_name = "FILE")]
    from_cacert: Option<PathBuf>,
    /// The certificate that --from is shown (PEM)
    #[arg(long, value_name = "FILE", requires = "from_key")]
    from_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "from_cert")]
    from_key: Option<PathBuf>,
    /// Only keys that begin with this
    #[arg(long, default_value = "")]
    prefix: String,
    /// End as soon as both sides are equal, instead of following until Ctrl-C
    #[arg(long)]
    until_synced: bool,
    /// Overwrite and delete what else is in the target under the prefix
    #[arg(long)]
    force: bool,
}

impl Migrate {
    /// Runs it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let from_tls = Tls { cacert: self.from_cacert, cert: self.from_cert, key: self.from_key };
        let from = Login::of(self.from_user, self.from_password_file, from_tls);
        let from = from.client_by("--from-", &self.from).context("--from")?;
        let to = self.login.client(&self.to).context("--to")?;
        let settings =
            Settings { prefix: self.prefix, until_synced: self.until_synced, force: self.force };
        let stop = stop_token(false)?;
        let mut teller = Teller::default();
        let outcome =
            migrate(&from, &to, &settings, &stop, |progress| teller.tell(&progress)).await?;
        tell_end(&outcome);
        Ok(())
    }
}

/// Says how far it is, but not every moment.
#[derive(Default)]
struct Teller {
    told: Option<Instant>,
    follows: bool,
}

impl Teller {
    fn tell(&mut self, progress: &Progress) {
        match progress {
            Progress::Skipped(keys) => out::line(format_args!(
                "{keys} keys under /watchkeep/ are not copied: there the target keeps its own"
            )),
            Progress::Again(why) => {
                self.follows = false;
                out::line(format_args!("{why}: comparing from the start"));
            }
            Progress::Copying { revision, keys } if self.is_due() => {
                out::line(format_args!("copying revision {revision}: {keys} keys so far"));
            }
            Progress::Following { revision, lag, events } => {
                if !self.follows {
                    self.follows = true;
                    out::line(
                        "copied; following (end it with Ctrl-C when no client writes to the source any more)",
                    );
                }
                if self.is_due() {
                    out::line(format_args!(
                        "following: revision {revision}, {lag} behind, {events} events"
                    ));
                }
            }
            Progress::Copying { .. } => {}
        }
    }

    fn is_due(&mut self) -> bool {
        let due = self.told.is_none_or(|told| told.elapsed() >= TELL);
        if due {
            self.told = Some(Instant::now());
        }
        due
    }
}

fn tell_end(Outcome { revision, behind, digest }: &Outcome) {
    out::line(format_args!("equal as of revision {revision} of the source: {digest}"));
    if *behind > 0 {
        out::line(format_args!(
            "the source has moved on by {behind} revisions since: run this again when no client writes to it any more"
        ));
    }
    out::line("values and leases were carried over; revisions and versions are the target's own");
}
