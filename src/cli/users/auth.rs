//! `watchkeep auth enable | disable | status`: whether users are checked.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::way::Way;

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
                way.client()?.enable_auth().await?;
                way.answer(&json!({"enabled": true}), "users are checked now");
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
