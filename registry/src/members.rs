//! Who may be added, promoted, removed and moved: pure rules over what the leader knows of each member. They are
//! etcd's (its strict reconfiguration check is always on), with etcd's order of refusals.

use thiserror::Error;

/// Learners that stay learners until somebody promotes them; etcd's default.
pub(crate) const LEARNERS_MAX: usize = 1;
/// A learner this many log entries behind the leader, or fewer, is in sync. At full load some hundred are always on
/// their way.
pub(crate) const IN_SYNC_ENTRIES: u64 = 1_000;

/// What is to happen to the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new one, under an id that was never used.
    Add {
        /// `host:port` of its peer listener.
        address: String,
        /// It stays a learner; else it gets its vote when it has caught up.
        is_learner: bool,
    },
    /// A learner gets a vote.
    Promote {
        /// Which.
        id: u64,
    },
    /// One leaves for ever.
    Remove {
        /// Which.
        id: u64,
    },
    /// One is found elsewhere.
    Update {
        /// Which.
        id: u64,
        /// `host:port` of its peer listener.
        address: String,
    },
}

/// Why a change is refused; its number goes over the wire between members: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[repr(u32)]
pub(crate) enum Refusal {
    /// No member has that id.
    #[error("etcdserver: member not found")]
    NotFound = 40,
    /// Another member has that address.
    #[error("etcdserver: Peer URLs already exists")]
    AddressExists = 41,
    /// It votes already.
    #[error("etcdserver: can only promote a learner member")]
    NotLearner = 42,
    /// It has not caught up.
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    NotInSync = 43,
    /// There are [`LEARNERS_MAX`] learners.
    #[error("etcdserver: too many learner members in cluster")]
    TooManyLearners = 44,
    /// Of the members there would be then, fewer than a majority have ever been up.
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    NotEnoughStarted = 45,
    /// Voters are out of the leader's reach.
    #[error("etcdserver: unhealthy cluster")]
    Unhealthy = 46,
}

impl Refusal {
    /// Back from its number.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [
            Self::NotFound,
            Self::AddressExists,
            Self::NotLearner,
            Self::NotInSync,
            Self::TooManyLearners,
            Self::NotEnoughStarted,
            Self::Unhealthy,
        ]
        .into_iter()
        .find(|refusal| *refusal as u32 == number)
    }
}

/// A member as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts")]
pub(crate) struct Seat {
    /// Its id.
    pub(crate) id: u64,
    /// `host:port` of its peer listener.
    pub(crate) address: String,
    /// Whether it votes.
    pub(crate) votes: bool,
    /// Whether it will, when it has caught up.
    pub(crate) arriving: bool,
    /// Whether it has been up.
    pub(crate) started: bool,
    /// Whether it has answered lately.
    pub(crate) connected: bool,
    /// Log entries it lacks, as far as the leader knows.
    pub(crate) lag: u64,
}

impl Seat {
    /// Whether it votes, or will without anybody asking for it: what etcd calls a voting member.
    fn is_voting_member(&self) -> bool {
        self.votes || self.arriving
    }

    /// Whether it has caught up.
    pub(crate) fn in_sync(&self) -> bool {
        self.connected && self.lag <= IN_SYNC_ENTRIES
    }
}

/// Whether `change` may be made, the leader's own seat being among `seats`.
pub(crate) fn check(seats: &[Seat], change: &Change) -> Result<(), Refusal> {
    let seat = |id: u64| seats.iter().find(|seat| seat.id == id).ok_or(Refusal::NotFound);
    match change {
        Change::Add { address, is_learner } => add(seats, address, *is_learner),
        Change::Promote { id } => promote(seats, seat(*id)?),
        Change::Remove { id } => remove(seats, seat(*id)?),
        Change::Update { id, address } => {
            seat(*id)?;
            vacant(seats.iter().filter(|seat| seat.id != *id), address)
        }
    }
}

fn vacant<'s>(mut seats: impl Iterator<Item = &'s Seat>, address: &str) -> Result<(), Refusal> {
    match seats.any(|seat| seat.address == address) {
        true => Err(Refusal::AddressExists),
        false => Ok(()),
    }
}

fn add(seats: &[Seat], address: &str, is_learner: bool) -> Result<(), Refusal> {
    let (members, started) = voting_members(seats.iter());
    // A second member for a lone one is let in, though one of two is no majority.
    let second = (members, started) == (1, 1);
    if !is_learner && !second && !enough_started(members + 1, started) {
        return Err(Refusal::NotEnoughStarted);
    }
    if seats.iter().any(|seat| seat.votes && !seat.connected) {
        return Err(Refusal::Unhealthy);
    }
    vacant(seats.iter(), address)?;
    let learners = seats.iter().filter(|seat| !seat.is_voting_member()).count();
    if is_learner && learners >= LEARNERS_MAX {
        return Err(Refusal::TooManyLearners);
    }
    Ok(())
}

fn promote(seats: &[Seat], seat: &Seat) -> Result<(), Refusal> {
    if seat.votes {
        return Err(Refusal::NotLearner);
    }
    if !seat.in_sync() {
        return Err(Refusal::NotInSync);
    }
    let (members, started) = voting_members(seats.iter().filter(|other| other.id != seat.id));
    match enough_started(members + 1, started + 1) {
        true => Ok(()),
        false => Err(Refusal::NotEnoughStarted),
    }
}

fn remove(seats: &[Seat], seat: &Seat) -> Result<(), Refusal> {
    if !seat.votes {
        return Ok(());
    }
    let (members, started) = voting_members(seats.iter().filter(|other| other.id != seat.id));
    if !enough_started(members, started) {
        return Err(Refusal::NotEnoughStarted);
    }
    // One that is down is not part of the quorum that works.
    if !seat.connected {
        return Ok(());
    }
    let voters = seats.iter().filter(|seat| seat.votes);
    let connected = voters.clone().filter(|seat| seat.connected).count() - 1;
    let left = voters.count() - 1;
    if connected < left / 2 + 1 { Err(Refusal::Unhealthy) } else { Ok(()) }
}

/// Voting members, and how many of them have been up.
fn voting_members<'s>(seats: impl Iterator<Item = &'s Seat>) -> (usize, usize) {
    seats
        .filter(|seat| seat.is_voting_member())
        .fold((0, 0), |(members, started), seat| (members + 1, started + usize::from(seat.started)))
}

fn enough_started(members: usize, started: usize) -> bool {
    started > members / 2
}

/// `host:port` of a peer URL; none when it is not one.
pub(crate) fn peer_address(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let is_peer = matches!(uri.scheme_str(), Some("http" | "https"))
        && authority.port_u16().is_some_and(|port| port > 0)
        && !authority.host().is_empty()
        && !authority.as_str().contains('@')
        && matches!(uri.path(), "" | "/")
        && uri.query().is_none();
    is_peer.then(|| authority.as_str().to_owned())
}

#[cfg(test)]
mod tests;
