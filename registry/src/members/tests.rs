//! Which change of members is allowed, and how an address of a peer must look.

use super::{Change, Refusal, Seat, check, peer_address};

/// A voter that is up and in sync.
fn voter(id: u64) -> Seat {
    Seat {
        id,
        address: format!("h{id}:2380"),
        votes: true,
        arriving: false,
        started: true,
        connected: true,
        lag: 0,
    }
}

fn down(id: u64) -> Seat {
    Seat { connected: false, lag: 5_000, ..voter(id) }
}

fn learner(id: u64) -> Seat {
    Seat { votes: false, ..voter(id) }
}

/// Added as a voter, and not there yet.
fn arriving(id: u64) -> Seat {
    Seat { votes: false, arriving: true, started: false, ..down(id) }
}

fn add(address: &str) -> Change {
    Change::Add { address: address.to_owned(), is_learner: false }
}

fn add_learner(address: &str) -> Change {
    Change::Add { address: address.to_owned(), is_learner: true }
}

#[test]
fn rules() {
    let remove = |id| Change::Remove { id };
    let promote = |id| Change::Promote { id };
    let update = |id, address: &str| Change::Update { id, address: address.to_owned() };
    let three = || vec![voter(1), voter(2), voter(3)];
    let lagging = Seat { lag: 1_001, ..learner(4) };
    for (name, seats, change, expected) in [
        ("a second member", vec![voter(1)], add("n:1"), Ok(())),
        (
            "a third before the second is up",
            vec![voter(1), arriving(2)],
            add("n:1"),
            Err(Refusal::NotEnoughStarted),
        ),
        (
            "a third before the second votes",
            vec![voter(1), Seat { started: true, connected: true, ..arriving(2) }],
            add("n:1"),
            Ok(()),
        ),
        ("a fourth", three(), add("n:1"), Ok(())),
        (
            "a fourth while one is down",
            vec![voter(1), voter(2), down(3)],
            add("n:1"),
            Err(Refusal::Unhealthy),
        ),
        (
            "a learner while one is down",
            vec![voter(1), voter(2), down(3)],
            add_learner("n:1"),
            Err(Refusal::Unhealthy),
        ),
        ("an address that is taken", three(), add("h2:2380"), Err(Refusal::AddressExists)),
        ("a learner", three(), add_learner("n:1"), Ok(())),
        (
            "a second learner",
            vec![voter(1), learner(2)],
            add_learner("n:1"),
            Err(Refusal::TooManyLearners),
        ),
        ("one that arrives is no learner", vec![voter(1), arriving(2)], add_learner("n:1"), Ok(())),
        ("promote", vec![voter(1), learner(2)], promote(2), Ok(())),
        ("promote a voter", three(), promote(2), Err(Refusal::NotLearner)),
        ("promote nobody", three(), promote(9), Err(Refusal::NotFound)),
        (
            "promote one that lags",
            vec![voter(1), voter(2), voter(3), lagging],
            promote(4),
            Err(Refusal::NotInSync),
        ),
        (
            "promote one that is not there",
            vec![voter(1), Seat { connected: false, ..learner(2) }],
            promote(2),
            Err(Refusal::NotInSync),
        ),
        ("remove", three(), remove(2), Ok(())),
        ("remove one that is down", vec![voter(1), voter(2), down(3)], remove(3), Ok(())),
        (
            "remove one that is up while one is down",
            vec![voter(1), voter(2), down(3)],
            remove(2),
            Err(Refusal::Unhealthy),
        ),
        ("remove one of two", vec![voter(1), voter(2)], remove(1), Ok(())),
        ("remove the last", vec![voter(1)], remove(1), Err(Refusal::NotEnoughStarted)),
        (
            "remove the only voter before another votes",
            vec![voter(1), Seat { started: true, connected: true, ..arriving(2) }],
            remove(1),
            Err(Refusal::Unhealthy),
        ),
        ("remove one that has not come", vec![voter(1), arriving(2)], remove(2), Ok(())),
        ("remove nobody", three(), remove(7), Err(Refusal::NotFound)),
        ("move", three(), update(2, "n:1"), Ok(())),
        ("move to where it is", three(), update(2, "h2:2380"), Ok(())),
        ("move to another's", three(), update(2, "h3:2380"), Err(Refusal::AddressExists)),
        ("move nobody", three(), update(8, "n:1"), Err(Refusal::NotFound)),
    ] {
        assert_eq!(check(&seats, &change), expected, "{name}");
    }
}

#[test]
fn numbers_of_refusals() {
    for number in 40..=46 {
        assert_eq!(Refusal::from_number(number).map(|refusal| refusal as u32), Some(number));
    }
    assert_eq!(Refusal::from_number(0), None);
}

#[test]
fn peer_urls() {
    for (url, expected) in [
        ("http://10.0.0.4:2380", Some("10.0.0.4:2380")),
        ("http://node-4.example:2380/", Some("node-4.example:2380")),
        ("https://[::1]:2380", Some("[::1]:2380")),
        ("10.0.0.4:2380", None),
        ("http://10.0.0.4", None),
        ("http://10.0.0.4:0", None),
        ("http://10.0.0.4:port", None),
        ("ftp://10.0.0.4:2380", None),
        ("http://10.0.0.4:2380/path", None),
        ("http://user@10.0.0.4:2380", None),
        ("http://10.0.0.4:2380?x", None),
        ("", None),
    ] {
        assert_eq!(peer_address(url).as_deref(), expected, "{url}");
    }
}
