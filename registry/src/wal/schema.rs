//! Every record that the log's files hold, with its id. The golden test (`tests/golden.rs`) fails when bytes change:
//! then give the record a new version and keep reading the old one.
//!
//! Bodies are protobuf (numbers explicit below); what surrounds them is in `frame`, `segment` and `tail`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::{EntryPayload, Membership, vote::RaftLeaderId};
use prost::Message;

use super::{Entry, LogId, Vote, state::State};
use crate::raft::types::{Encoded, Peer};

/// Version of the segment header, the frame header and the tail file.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Version of every record below.
pub(super) const RECORD_VERSION: u8 = 1;
/// First bytes of a segment file.
pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"WKRAFTLG";
/// First bytes of the tail file.
pub(super) const TAIL_MAGIC: [u8; 8] = *b"WKRAFTTL";
/// First bytes of a frame.
pub(super) const FRAME_MAGIC: [u8; 4] = *b"WKFR";

/// A log entry.
pub(super) const KIND_ENTRY: u8 = 1;
/// A vote.
pub(super) const KIND_VOTE: u8 = 2;
/// How far the log is committed.
pub(super) const KIND_COMMITTED: u8 = 3;
/// Entries after an id are void.
pub(super) const KIND_TRUNCATE: u8 = 4;
/// Entries up to an id are not needed any more.
pub(super) const KIND_PURGE: u8 = 5;
/// All that earlier segments said besides entries: the first record of each segment.
pub(super) const KIND_STATE: u8 = 6;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    /// [`KIND_ENTRY`].
    Entry(Entry),
    /// [`KIND_VOTE`].
    Vote(Vote),
    /// [`KIND_COMMITTED`].
    Committed(LogId),
    /// [`KIND_TRUNCATE`]: entries after the id, or all when there is none.
    Truncate(Option<LogId>),
    /// [`KIND_PURGE`]: entries up to the id, inclusive.
    Purge(LogId),
    /// [`KIND_STATE`].
    State(State),
}

#[derive(Clone, Copy, PartialEq, Message)]
struct LogIdMessage {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    leader: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
}

#[derive(Clone, PartialEq, Message)]
struct EntryMessage {
    #[prost(message, optional, tag = "1")]
    id: Option<LogIdMessage>,
    #[prost(oneof = "Payload", tags = "2, 3, 4")]
    payload: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Payload {
    #[prost(message, tag = "2")]
    Blank(Blank),
    #[prost(bytes = "bytes", tag = "3")]
    Command(Bytes),
    #[prost(message, tag = "4")]
    Membership(MembershipMessage),
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Blank {}

#[derive(Clone, PartialEq, Message)]
struct MembershipMessage {
    #[prost(message, repeated, tag = "1")]
    configs: Vec<Voters>,
    #[prost(btree_map = "uint64, message", tag = "2")]
    nodes: BTreeMap<u64, PeerMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct Voters {
    #[prost(uint64, repeated, tag = "1")]
    ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct PeerMessage {
    #[prost(string, tag = "1")]
    address: String,
    #[prost(bool, tag = "2")]
    arriving: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct VoteMessage {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    node: u64,
    #[prost(bool, tag = "3")]
    committed: bool,
}

/// Committed, truncate and purge.
#[derive(Clone, Copy, PartialEq, Message)]
struct BoundMessage {
    #[prost(message, optional, tag = "1")]
    id: Option<LogIdMessage>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct StateMessage {
    #[prost(message, optional, tag = "1")]
    vote: Option<VoteMessage>,
    #[prost(message, optional, tag = "2")]
    committed: Option<LogIdMessage>,
    #[prost(message, optional, tag = "3")]
    purged: Option<LogIdMessage>,
    #[prost(uint64, tag = "4")]
    first_index: u64,
    #[prost(message, optional, tag = "5")]
    last: Option<LogIdMessage>,
}

impl Record {
    /// Appends the body to `out` and says of which kind it is.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Record::Entry(entry) => put(KIND_ENTRY, &entry_message(entry), out),
            Record::Vote(vote) => put(KIND_VOTE, &vote_message(vote), out),
            Record::Committed(id) => put(KIND_COMMITTED, &bound(Some(id)), out),
            Record::Truncate(id) => put(KIND_TRUNCATE, &bound(id.as_ref()), out),
            Record::Purge(id) => put(KIND_PURGE, &bound(Some(id)), out),
            Record::State(state) => put(KIND_STATE, &state_message(state), out),
        }
    }

    /// # Errors
    /// Says what is wrong with a body whose checksum is right: another version wrote it, or a bug did.
    pub(super) fn decode(kind: u8, body: &[u8]) -> Result<Record, String> {
        let bound = || -> Result<Option<LogId>, String> {
            Ok(parse::<BoundMessage>(body)?.id.map(|id| log_id(&id)))
        };
        let must =
            |id: Option<LogId>| id.ok_or_else(|| format!("record kind {kind} has no log id"));
        match kind {
            KIND_ENTRY => entry(parse(body)?).map(Record::Entry),
            KIND_VOTE => Ok(Record::Vote(vote(&parse(body)?))),
            KIND_COMMITTED => Ok(Record::Committed(must(bound()?)?)),
            KIND_TRUNCATE => Ok(Record::Truncate(bound()?)),
            KIND_PURGE => Ok(Record::Purge(must(bound()?)?)),
            KIND_STATE => Ok(Record::State(state(&parse(body)?))),
            _ => Err(format!("record kind {kind} is unknown to this binary")),
        }
    }
}

fn put(kind: u8, message: &impl Message, out: &mut Vec<u8>) -> u8 {
    message.encode_raw(out);
    kind
}

fn parse<M: Message + Default>(body: &[u8]) -> Result<M, String> {
    M::decode(body).map_err(|error| error.to_string())
}

fn log_id_message(id: &LogId) -> LogIdMessage {
    LogIdMessage { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

fn log_id(message: &LogIdMessage) -> LogId {
    LogId::new(RaftLeaderId::new(message.term, message.leader), message.index)
}

fn bound(id: Option<&LogId>) -> BoundMessage {
    BoundMessage { id: id.map(log_id_message) }
}

fn vote_message(vote: &Vote) -> VoteMessage {
    VoteMessage {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

fn vote(message: &VoteMessage) -> Vote {
    Vote { leader_id: RaftLeaderId::new(message.term, message.node), committed: message.committed }
}

fn state_message(state: &State) -> StateMessage {
    StateMessage {
        vote: state.vote.as_ref().map(vote_message),
        committed: state.committed.as_ref().map(log_id_message),
        purged: state.purged.as_ref().map(log_id_message),
        first_index: state.first_index,
        last: state.last.as_ref().map(log_id_message),
    }
}

fn state(message: &StateMessage) -> State {
    State {
        vote: message.vote.as_ref().map(vote),
        committed: message.committed.as_ref().map(log_id),
        purged: message.purged.as_ref().map(log_id),
        first_index: message.first_index,
        last: message.last.as_ref().map(log_id),
    }
}

fn entry_message(entry: &Entry) -> EntryMessage {
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(Blank {}),
        EntryPayload::Normal(Encoded(command)) => Payload::Command(command.clone()),
        EntryPayload::Membership(membership) => Payload::Membership(membership_message(membership)),
    };
    EntryMessage { id: Some(log_id_message(&entry.log_id)), payload: Some(payload) }
}

fn entry(message: EntryMessage) -> Result<Entry, String> {
    let payload = match message.payload.ok_or("entry without payload")? {
        Payload::Blank(Blank {}) => EntryPayload::Blank,
        Payload::Command(command) => EntryPayload::Normal(Encoded(command)),
        Payload::Membership(message) => EntryPayload::Membership(membership(message)?),
    };
    Ok(Entry { log_id: log_id(&message.id.ok_or("entry without log id")?), payload })
}

fn membership_message(membership: &Membership<u64, Peer>) -> MembershipMessage {
    let voters = |ids: &BTreeSet<u64>| Voters { ids: ids.iter().copied().collect() };
    let peer = |(id, peer): (&u64, &Peer)| {
        (*id, PeerMessage { address: peer.address.clone(), arriving: peer.arriving })
    };
    MembershipMessage {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        nodes: membership.nodes().map(peer).collect(),
    }
}

fn membership(message: MembershipMessage) -> Result<Membership<u64, Peer>, String> {
    let peer = |(id, PeerMessage { address, arriving })| (id, Peer { address, arriving });
    let configs =
        message.configs.into_iter().map(|voters| voters.ids.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, Peer> = message.nodes.into_iter().map(peer).collect();
    Membership::new(configs, nodes).map_err(|error| error.to_string())
}
