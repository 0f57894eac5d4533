//! Moving in: copies a live etcd and follows it until clients are moved over.
//!
//! ```text
//! source ─page by page, at one revision─▶ compare with the target ─▶ transactions ─▶ target
//! source ─watch from that revision on───────────────────────────────▶ transactions ─▶ target
//! ```
//!
//! Each transaction also writes a marker, which says how far the copy is: a copy that was interrupted goes on there,
//! a second one beside it fails, and a key that somebody else has written since is noticed. Keys under `/watchkeep/`
//! are not copied. Values and leases are carried over, leases with their ids; revisions and versions cannot be.

use bytes::Bytes;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{Client, ClientError, client::prefix_end};

mod batch;
mod copy;
mod follow;
mod leases;
mod target;
mod verify;

use leases::Leases;
use target::Target;
pub use verify::Digest;

/// Keys that are the target's own.
const OWN: &str = "/watchkeep/";

/// What to do.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Only keys that begin with this.
    pub prefix: String,
    /// End as soon as the target has everything; else when told to.
    pub until_synced: bool,
    /// Overwrite what is in the target.
    pub force: bool,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Keys of the source that are not copied, since they are the target's own.
    Skipped(i64),
    /// Copying the state of a revision.
    Copying {
        /// Which.
        revision: i64,
        /// Keys read so far.
        keys: u64,
    },
    /// The source was compacted, or a lease of the target ran out: the copy is compared and mended from the start.
    Again(&'static str),
    /// Following.
    Following {
        /// Up to which revision of the source.
        revision: i64,
        /// Revisions that the source is ahead.
        lag: i64,
        /// Events so far.
        events: u64,
    },
}

/// How it ended: both sides were equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The revision of the source to which the target is equal.
    pub revision: i64,
    /// Revisions that the source has moved on since: somebody still writes to it.
    pub behind: i64,
    /// Of either side.
    pub digest: Digest,
}

/// Why it ended before.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// A call failed.
    #[error("{side}: {error}")]
    Client {
        /// `source` or `target`.
        side: &'static str,
        /// Why.
        error: ClientError,
    },
    /// The prefix is the target's own.
    #[error("keys under {OWN} belong to Watchkeep itself and are not copied: give another prefix")]
    OwnPrefix,
    /// Both are one.
    #[error("--from and --to are the same cluster, {0:016x}: there is nothing to copy")]
    Same(u64),
    /// The target holds something else.
    #[error(
        "the target already has keys under the prefix, {key:?} among them, and none of this copy: delete them, or let the source win with --force"
    )]
    NotEmpty {
        /// One of them.
        key: String,
    },
    /// Somebody else has written to the target.
    #[error(
        "key {key:?} of the target was written by somebody else at revision {revision}, after it was copied: the copy would overwrite it; move clients over only when it has ended, or let the source win with --force"
    )]
    Foreign {
        /// The key.
        key: String,
        /// The target's revision.
        revision: i64,
    },
    /// Another copy of the same source is under way.
    #[error("another copy of this source writes to the same target: end one of them")]
    Another,
    /// The watch of the source ended for good.
    #[error("source: the watch was refused: {0}")]
    Watch(String),
    /// The final comparison failed.
    #[error(
        "the target is not equal to the source: {target} there, {source_} at revision {revision} here; somebody writes to the target, or the copy was incomplete: run it again with --force"
    )]
    Differs {
        /// Of the source.
        source_: Digest,
        /// Of the target.
        target: Digest,
        /// The source's revision.
        revision: i64,
    },
}

fn source(error: ClientError) -> MigrateError {
    MigrateError::Client { side: "source", error }
}

fn target(error: ClientError) -> MigrateError {
    MigrateError::Client { side: "target", error }
}

/// Whether the source has forgotten the revision that was asked for.
fn is_compacted(error: &ClientError) -> bool {
    matches!(error, ClientError::Status { message, .. } if message.contains("has been compacted"))
}

/// Copies what is under the prefix from one registry to another and follows it, until both are equal and `stop` is
/// cancelled (or at once, with [`Settings::until_synced`]).
///
/// # Errors
/// When either side refuses or does not answer, the target is written by somebody else, or the final comparison fails.
/// Running it again goes on where it was.
pub async fn migrate(
    from: &Client,
    to: &Client,
    settings: &Settings,
    stop: &CancellationToken,
    mut tell: impl FnMut(Progress),
) -> Result<Outcome, MigrateError> {
    if settings.prefix.starts_with(OWN) {
        return Err(MigrateError::OwnPrefix);
    }
    let spans = spans(&settings.prefix);
    let head = copy::head(from, &spans, source).await?;
    // Its leases would be kept alive for as long as the copy runs.
    if head.cluster_id == copy::head(to, &spans, target).await?.cluster_id {
        return Err(MigrateError::Same(head.cluster_id));
    }
    if OWN.starts_with(&settings.prefix) {
        let own = (Bytes::from_static(OWN.as_bytes()), prefix_end(OWN.as_bytes()));
        match copy::count(from, &own).await? {
            0 => {}
            skipped => tell(Progress::Skipped(skipped)),
        }
    }
    let mut target = Target::open(to, head.cluster_id, settings, &spans).await?;
    let leases = Leases::new(from, to);
    let tending = leases.tend();
    let moving = async {
        if settings.prefix.is_empty() {
            leases.carry_all().await?;
        }
        loop {
            if target.followed().is_none() {
                match copy::copy(from, &mut target, &leases, &spans, &mut tell).await {
                    Err(MigrateError::Client { side: "source", error }) if is_compacted(&error) => {
                        tell(Progress::Again("the source was compacted meanwhile"));
                        continue;
                    }
                    other => other?,
                }
            }
            let mut following = follow::Following {
                from,
                target: &mut target,
                leases: &leases,
                settings,
                spans: &spans,
            };
            match following.run(stop, &mut tell).await? {
                follow::End::Equal(outcome) => return Ok(outcome),
                follow::End::Again(why) => {
                    tell(Progress::Again(why));
                    target.start_again();
                }
            }
        }
    };
    tokio::select! {
        outcome = moving => outcome,
        error = tending => Err(error),
    }
}

/// Keys from the first to before the second.
type Span = (Bytes, Bytes);

/// The ranges under `prefix` that do not belong to the target itself.
fn spans(prefix: &str) -> Vec<Span> {
    let from = if prefix.is_empty() { b"\0".as_slice() } else { prefix.as_bytes() };
    let (from, end) = (Bytes::copy_from_slice(from), prefix_end(prefix.as_bytes()));
    if !OWN.starts_with(prefix) {
        return vec![(from, end)];
    }
    let own = Bytes::from_static(OWN.as_bytes());
    vec![(from, own), (prefix_end(OWN.as_bytes()), end)]
        .into_iter()
        .filter(|(from, end)| end[..] == b"\0"[..] || from < end)
        .collect()
}

/// A key for people.
fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_are_left_out() {
        let of = |prefix: &str| {
            let shown = |(from, end): Span| (shown(&from), shown(&end));
            spans(prefix).into_iter().map(shown).collect::<Vec<_>>()
        };
        let pair = |from: &str, end: &str| (from.to_owned(), end.to_owned());
        assert_eq!(of(""), [pair("\0", "/watchkeep/"), pair("/watchkeep0", "\0")]);
        assert_eq!(of("/"), [pair("/", "/watchkeep/"), pair("/watchkeep0", "0")]);
        assert_eq!(
            of("/watchkeep"),
            [pair("/watchkeep", "/watchkeep/"), pair("/watchkeep0", "/watchkeeq")]
        );
        assert_eq!(of("/apps/"), [pair("/apps/", "/apps0")]);
    }
}
