//! Random sequences.

use bytes::Bytes;
use rand::{
    Rng, RngCore, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};
use watchkeep_api::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, LeaseGrantRequest, LeaseTimeToLiveRequest, PutRequest,
    RangeRequest, WatchCreateRequest,
};

use crate::{
    generate_txn,
    op::{BEFORE, CHOSEN, Op},
};

/// Keys that are hard to keep apart. Twelve: with more, Go's sort leaves the order of equal keys open.
const KEYS: [&[u8]; 12] =
    [b"a", b"aa", b"ab", b"a\0", b"b", b"b/1", b"b/2", b"c", b"\0", b"\0\0", b"\xff", b"\xff\xff"];
const VALUES: [&[u8]; 5] = [b"", b"x", b"y", b"yy", b"\0\xff"];
const LEASES: [i64; 6] = [1, 2, 3, 77, i64::MAX, -4];
/// None of them runs out in a sequence.
const TTLS: [i64; 6] = [60, 100, 600, 9_000_000_000, 9_000_000_001, i64::MAX];
const WATCH_IDS: [i64; 5] = [0, 0, 0, 100, 107];

/// What a sequence is mostly about: weights of range, put, delete, txn, compact, grant, revoke, time-to-live,
/// keep-alive, leases, watch, cancel, progress.
const PROFILES: [[u32; 13]; 4] = [
    [30, 30, 12, 15, 5, 1, 1, 0, 0, 0, 0, 0, 0],
    [12, 20, 5, 55, 4, 3, 1, 0, 0, 0, 0, 0, 0],
    [8, 25, 5, 8, 1, 20, 10, 10, 6, 10, 0, 0, 0],
    [2, 32, 12, 14, 6, 4, 3, 0, 0, 0, 20, 6, 2],
];

/// Lots, and the few keys and leases of one sequence, so that operations meet.
pub(crate) struct Dice {
    lots: StdRng,
    pub(crate) keys: Vec<&'static [u8]>,
    leases: Vec<i64>,
}

impl Dice {
    fn new(seed: u64) -> Self {
        let mut lots = StdRng::seed_from_u64(seed);
        let (mut keys, mut leases) = (KEYS.to_vec(), LEASES.to_vec());
        keys.shuffle(&mut lots);
        leases.shuffle(&mut lots);
        keys.truncate(lots.random_range(3..=KEYS.len()));
        leases.truncate(lots.random_range(2..=LEASES.len()));
        Self { lots, keys, leases }
    }

    fn key(&mut self) -> &'static [u8] {
        self.keys.choose(&mut self.lots).expect("a key")
    }

    fn lease(&mut self) -> i64 {
        *self.leases.choose(&mut self.lots).expect("a lease")
    }
}

impl RngCore for Dice {
    fn next_u32(&mut self) -> u32 {
        self.lots.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.lots.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.lots.fill_bytes(bytes);
    }
}

pub(crate) fn sequence(seed: u64) -> Vec<Op> {
    let mut random = Dice::new(seed);
    let weights = PROFILES.choose(&mut random).expect("profiles");
    let length = random.random_range(6..18);
    let mut ops = vec![];
    for _ in 0..length {
        let kinds: Vec<usize> = (0..weights.len()).collect();
        let kind = kinds.choose_weighted(&mut random, |kind| weights[*kind]).expect("weights");
        ops.push(op(&mut random, *kind));
    }
    ops.extend(last_look(&mut random));
    ops
}

/// What a sequence left behind: everything as it is and as it was once, and the keys of its leases. Each look is a call
/// to both, and they are a fifth of all: other sequences look at other revisions.
fn last_look(random: &mut Dice) -> Vec<Op> {
    let all = RangeRequest { key: "\0".into(), range_end: "\0".into(), ..RangeRequest::default() };
    let past = [0, 1, 2, 3, 4, 6, 8].map(|back| BEFORE + back);
    let mut looks: Vec<Op> = past
        .choose_multiple(random, 1)
        .map(|revision| Op::Range(RangeRequest { revision: *revision, ..all.clone() }))
        .collect();
    looks.push(Op::Range(all));
    let leases = random.leases.iter().take(2);
    looks.extend(leases.map(|id| Op::TimeToLive(LeaseTimeToLiveRequest { id: *id, keys: true })));
    looks
}

fn op(random: &mut Dice, kind: usize) -> Op {
    match kind {
        0 => Op::Range(range(random)),
        1 => Op::Put(put(random)),
        2 => Op::Delete(delete(random)),
        3 => Op::Txn(generate_txn::txn(random)),
        4 => Op::Compact(CompactionRequest {
            revision: revision(random),
            physical: random.random_bool(0.5),
        }),
        5 => Op::Grant(LeaseGrantRequest {
            id: if random.random_bool(0.15) { 0 } else { random.lease() },
            ttl: pick(random, &TTLS),
        }),
        6 => Op::Revoke(lease(random)),
        7 => Op::TimeToLive(LeaseTimeToLiveRequest {
            id: lease(random),
            keys: random.random_bool(0.6),
        }),
        8 => Op::KeepAlive(lease(random)),
        9 => Op::Leases,
        10 => Op::Watch(watch(random)),
        11 => Op::Cancel(pick(random, &[0, 1, 2, 100, 107])),
        _ => Op::Progress,
    }
}

pub(crate) fn pick<T: Clone>(random: &mut Dice, from: &[T]) -> T {
    from.choose(random).expect("there is one").clone()
}

/// A key, now and then none or one that nobody writes.
pub(crate) fn key(random: &mut Dice) -> Bytes {
    match random.random_range(0..60) {
        0 => Bytes::new(),
        1 => Bytes::from_static(b"zz"),
        _ => Bytes::from_static(random.key()),
    }
}

/// The end of a range, odd ones included: before its start, at its start, a byte behind it.
pub(crate) fn end(random: &mut Dice, key: &[u8]) -> Bytes {
    match random.random_range(0..20) {
        0..6 => Bytes::new(),
        6..10 => Bytes::from_static(b"\0"),
        10..13 => prefix_end(key),
        13..18 => Bytes::from_static(random.key()),
        18 => [key, b"\0"].concat().into(),
        _ => Bytes::from_static(b"\xff\xff\xff"),
    }
}

fn prefix_end(key: &[u8]) -> Bytes {
    let mut end = key.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

/// A relative revision, see [`Op`]: mostly one of the sequence itself.
pub(crate) fn revision(random: &mut Dice) -> i64 {
    match random.random_range(0..20) {
        0 => -1,
        1 => 0,
        2..5 => random.random_range(1..=BEFORE),
        5..18 => BEFORE + random.random_range(0..14),
        _ => BEFORE + random.random_range(0..60),
    }
}

fn bound(random: &mut Dice) -> i64 {
    if random.random_bool(0.1) { revision(random) } else { 0 }
}

pub(crate) fn range(random: &mut Dice) -> RangeRequest {
    let key = key(random);
    let sorts = random.random_bool(0.4);
    RangeRequest {
        range_end: end(random, &key),
        key,
        limit: if random.random_bool(0.5) { 0 } else { pick(random, &[1, 2, 3, 5, -1, i64::MAX]) },
        revision: if random.random_bool(0.65) { 0 } else { revision(random) },
        sort_order: if sorts { random.random_range(0..3) } else { 0 },
        sort_target: if sorts { random.random_range(0..5) } else { 0 },
        serializable: random.random_bool(0.2),
        keys_only: random.random_bool(0.2),
        count_only: random.random_bool(0.1),
        min_mod_revision: bound(random),
        max_mod_revision: bound(random),
        min_create_revision: bound(random),
        max_create_revision: bound(random),
    }
}

fn lease(random: &mut Dice) -> i64 {
    match random.random_range(0..20) {
        0 => CHOSEN,
        1 => CHOSEN - 1,
        2 => 0,
        _ => random.lease(),
    }
}

pub(crate) fn put(random: &mut Dice) -> PutRequest {
    let (ignore_value, ignore_lease) = (random.random_bool(0.1), random.random_bool(0.1));
    let mut request = PutRequest {
        key: key(random),
        value: Bytes::from_static(pick(random, &VALUES)),
        lease: if random.random_bool(0.6) { 0 } else { random.lease() },
        prev_kv: random.random_bool(0.4),
        ignore_value,
        ignore_lease,
    };
    if &request.key[..] == b"zz" {
        request.key = Bytes::from_static(b"a");
    }
    if ignore_value && random.random_bool(0.9) {
        request.value = Bytes::new();
    }
    if ignore_lease && random.random_bool(0.9) {
        request.lease = 0;
    }
    request
}

pub(crate) fn delete(random: &mut Dice) -> DeleteRangeRequest {
    let key = key(random);
    DeleteRangeRequest { range_end: end(random, &key), key, prev_kv: random.random_bool(0.5) }
}

fn watch(random: &mut Dice) -> WatchCreateRequest {
    let key = key(random);
    let filter = |random: &mut Dice| {
        if random.random_bool(0.2) { vec![random.random_range(0..2)] } else { vec![] }
    };
    WatchCreateRequest {
        range_end: end(random, &key),
        key,
        start_revision: if random.random_bool(0.4) { 0 } else { revision(random).max(0) },
        progress_notify: random.random_bool(0.2),
        filters: filter(random),
        prev_kv: random.random_bool(0.5),
        watch_id: pick(random, &WATCH_IDS),
        fragment: random.random_bool(0.2),
    }
}
