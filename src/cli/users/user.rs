//! `watchkeep user list | get | add | passwd | delete | grant-role | revoke-role`.

use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::way::Way;

/// Longest password that is read.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// `watchkeep user …`.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Names of all users
    List(List),
    /// A user's roles
    Get(Named),
    /// Add a user
    Add(Add),
    /// Give a user another password, which ends the tokens of the old one
    Passwd(Passwd),
    /// Delete a user
    Delete(Named),
    /// Give a user a role
    GrantRole(RoleOf),
    /// Take a role from a user
    RevokeRole(RoleOf),
}

/// Arguments of `watchkeep user list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    way: Way,
}

/// Arguments of `watchkeep user get` and `delete`.
#[derive(Debug, Args)]
pub(crate) struct Named {
    #[command(flatten)]
    way: Way,
    /// The user
    name: String,
}

/// Arguments of `watchkeep user add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    way: Way,
    /// The new user
    name: String,
    /// It cannot log in by a password: a client certificate names it
    #[arg(long, conflicts_with = "new_password_file")]
    no_password: bool,
    #[command(flatten)]
    password: NewPassword,
}

/// Arguments of `watchkeep user passwd`.
#[derive(Debug, Args)]
pub(crate) struct Passwd {
    #[command(flatten)]
    way: Way,
    /// The user
    name: String,
    #[command(flatten)]
    password: NewPassword,
}

/// Arguments of `watchkeep user grant-role` and `revoke-role`.
#[derive(Debug, Args)]
pub(crate) struct RoleOf {
    #[command(flatten)]
    way: Way,
    /// The user
    name: String,
    /// The role; root and watchkeep are built in
    role: String,
}

/// Where a user's new password is. Never on the command line, which others see.
#[derive(Debug, Args)]
struct NewPassword {
    /// A file that holds the user's password [default: standard input]
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

impl NewPassword {
    fn read(&self) -> anyhow::Result<String> {
        let stdin = std::io::stdin();
        match &self.new_password_file {
            Some(file) => {
                let opened = std::fs::File::open(file);
                let opened = opened.with_context(|| told(file))?;
                first_line(opened).with_context(|| told(file))
            }
            None if stdin.is_terminal() => bail!(
                "no password: give --new-password-file FILE, pipe it in, or say --no-password when adding a user that a \
                 client certificate names"
            ),
            None => first_line(stdin.lock()).context("standard input"),
        }
    }
}

fn told(file: &Path) -> String {
    format!("--new-password-file {}", file.display())
}

/// What is there, without one line break at its end.
fn first_line(source: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    source.take(PASSWORD_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > PASSWORD_BYTES_MAX {
        bail!("a password has at most {PASSWORD_BYTES_MAX} bytes");
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    match line.strip_suffix('\r').unwrap_or(line) {
        "" => bail!("the password is empty"),
        password => Ok(password.to_owned()),
    }
}

impl User {
    /// Runs it.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(List { way }) => {
                let users = way.client()?.users().await?;
                way.names(&json!({"users": users}), &users);
            }
            Self::Get(Named { way, name }) => {
                let roles = way.client()?.user(&name).await?;
                way.names(&json!({"user": name, "roles": roles}), &roles);
            }
            Self::Add(Add { way, name, no_password, password }) => {
                let password = if no_password { None } else { Some(password.read()?) };
                way.client()?.add_user(&name, password.as_deref()).await?;
                way.answer(&json!({"user": name}), format_args!("user {name} added"));
            }
            Self::Passwd(Passwd { way, name, password }) => {
                way.client()?.change_password(&name, &password.read()?).await?;
                way.answer(&json!({"user": name}), format_args!("user {name} has a new password"));
            }
            Self::Delete(Named { way, name }) => {
                way.client()?.delete_user(&name).await?;
                way.answer(&json!({"user": name}), format_args!("user {name} deleted"));
            }
            Self::GrantRole(RoleOf { way, name, role }) => {
                way.client()?.grant_role(&name, &role).await?;
                let text = format_args!("user {name} has role {role}");
                way.answer(&json!({"user": name, "role": role}), text);
            }
            Self::RevokeRole(RoleOf { way, name, role }) => {
                way.client()?.revoke_role(&name, &role).await?;
                let text = format_args!("user {name} has role {role} no more");
                way.answer(&json!({"user": name, "role": role}), text);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_end_with_their_line() {
        for (text, password) in [
            ("secret\n", Some("secret")),
            ("secret\r\n", Some("secret")),
            (" s \n", Some(" s ")),
            ("a\nb\n", Some("a\nb")),
            ("\n", None),
            ("", None),
        ] {
            assert_eq!(first_line(text.as_bytes()).ok().as_deref(), password, "{text:?}");
        }
        assert!(first_line(&[b'x'; 5_000][..]).is_err());
    }
}
