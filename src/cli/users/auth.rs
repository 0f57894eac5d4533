//! `watchkeep auth enable | disable | status`: whether users are checked.

use clap::{Args, Subcommand};
use serde_json::json;
use watchkeep_catalog::{Client, ClientError, keys};

use crate::{cli::way::Way, self_watch::SERVICE};

/// `watchkeep auth …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Check users from now on; there must be a user root with the role root
    Enable(Switch),
    /// Check users no more: everybody may do everything
    Disable(Switch),
    /// Whether users are checked
    Status(Switch),
}

/// Arguments of `watchkeep auth`.
#[derive(Debug, Args)]
pub(crate) struct Switch {
    #[command(flatten)]
    way: Way,
}

impl Auth {
    /// Runs it.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Enable(Switch { way }) => {
                let client = way.client()?;
                // Asked before: afterwards nobody in particular may ask.
                let shut_out = shuts_out(&client).await.unwrap_or(false);
                client.enable_auth().await?;
                way.answer(&json!({"enabled": true}), "users are checked now");
                if shut_out {
                    eprintln!("{SHUT_OUT}");
                }
            }
            Self::Disable(Switch { way }) => {
                way.client()?.disable_auth().await?;
                let text = "users are not checked any more: everybody may do everything";
                way.answer(&json!({"enabled": false}), text);
            }
            Self::Status(Switch { way }) => {
                let (enabled, revision) = way.client()?.auth_status().await?;
                let is = if enabled { "are" } else { "are not" };
                way.answer(
                    &json!({"enabled": enabled, "revision": revision}),
                    format_args!("users {is} checked; revision of users and roles: {revision}"),
                );
            }
        }
        Ok(())
    }
}

/// What becomes of nodes that are nobody.
const SHUT_OUT: &str = "warning: no user has the role watchkeep, so collectors, alerting and the HTTP API of the nodes that \
    are registered here can do nothing from now on. `watchkeep user add rooms`, `watchkeep user grant-role rooms watchkeep`, \
    set registry.username and registry.password_file on every node and start it again; or `watchkeep auth disable`";

/// Whether nodes of Watchkeep are registered here, and no user is there for them.
async fn shuts_out(client: &Client) -> Result<bool, ClientError> {
    if client.list(&format!("{}{SERVICE}/", keys::INSTANCES)).await?.0.is_empty() {
        return Ok(false);
    }
    for user in client.users().await? {
        if client.user(&user).await?.iter().any(|role| role == "watchkeep") {
            return Ok(false);
        }
    }
    Ok(true)
}
