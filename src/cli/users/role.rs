//! `watchkeep role list | get | add | delete | grant-permission | revoke-permission`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use watchkeep_catalog::client::{Access, KeyRange, Permission};

use crate::cli::way::Way;

/// `watchkeep role …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Names of all roles
    List(List),
    /// A role's permissions
    Get(Named),
    /// Add a role
    Add(Named),
    /// Delete a role, and take it from all users
    Delete(Named),
    /// Let a role read or write keys
    GrantPermission(Grant),
    /// Take a permission from a role: the keys as they were granted
    RevokePermission(Revoke),
}

/// Arguments of `watchkeep role list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    way: Way,
}

/// Arguments of `watchkeep role get`, `add` and `delete`.
#[derive(Debug, Args)]
pub(crate) struct Named {
    #[command(flatten)]
    way: Way,
    /// The role
    name: String,
}

/// Arguments of `watchkeep role grant-permission`.
#[derive(Debug, Args)]
pub(crate) struct Grant {
    #[command(flatten)]
    way: Way,
    /// The role
    name: String,
    /// What it may
    access: Kind,
    #[command(flatten)]
    keys: Keys,
}

/// Arguments of `watchkeep role revoke-permission`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    way: Way,
    /// The role
    name: String,
    #[command(flatten)]
    keys: Keys,
}

/// What a permission allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Read,
    Write,
    Readwrite,
}

/// The keys of a permission, as etcdctl takes them.
#[derive(Debug, Args)]
struct Keys {
    /// The key, or the first of a range
    #[arg(value_name = "KEY")]
    first: String,
    /// The end of the range, which is not in it
    #[arg(value_name = "END")]
    end: Option<String>,
    /// All keys that begin with KEY
    #[arg(long, conflicts_with_all = ["end", "from_key"])]
    prefix: bool,
    /// All keys from KEY on
    #[arg(long, conflicts_with = "end")]
    from_key: bool,
}

impl Keys {
    fn range(&self) -> KeyRange {
        match &self.end {
            _ if self.prefix => KeyRange::prefix(&self.first),
            _ if self.from_key => KeyRange::from_key(&self.first),
            Some(end) => KeyRange::below(&self.first, end),
            None => KeyRange::key(&self.first),
        }
    }
}

fn words(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::ReadWrite => "readwrite",
    }
}

impl Role {
    /// Runs it.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(List { way }) => {
                let roles = way.client()?.roles().await?;
                way.names(&json!({"roles": roles}), &roles);
            }
            Self::Get(Named { way, name }) => {
                let permissions = way.client()?.role(&name).await?;
                let line = |p: &Permission| format!("{}  {}", words(p.access), p.keys.words());
                let lines: Vec<String> = permissions.iter().map(line).collect();
                let one =
                    |p: &Permission| json!({"access": words(p.access), "keys": p.keys.words()});
                let permissions: Vec<_> = permissions.iter().map(one).collect();
                way.names(&json!({"role": name, "permissions": permissions}), &lines);
            }
            Self::Add(Named { way, name }) => {
                way.client()?.add_role(&name).await?;
                way.answer(&json!({"role": name}), format_args!("role {name} added"));
            }
            Self::Delete(Named { way, name }) => {
                way.client()?.delete_role(&name).await?;
                way.answer(&json!({"role": name}), format_args!("role {name} deleted"));
            }
            Self::GrantPermission(Grant { way, name, access, keys }) => {
                let access = match access {
                    Kind::Read => Access::Read,
                    Kind::Write => Access::Write,
                    Kind::Readwrite => Access::ReadWrite,
                };
                let keys = keys.range();
                let what = keys.words();
                way.client()?.grant_permission(&name, Permission { access, keys }).await?;
                let access = words(access);
                let json = json!({"role": name, "access": access, "keys": what});
                way.answer(&json, format_args!("role {name} has {access} on {what}"));
            }
            Self::RevokePermission(Revoke { way, name, keys }) => {
                let keys = keys.range();
                let what = keys.words();
                way.client()?.revoke_permission(&name, keys).await?;
                let json = json!({"role": name, "keys": what});
                way.answer(&json, format_args!("role {name} has no permission on {what} any more"));
            }
        }
        Ok(())
    }
}
