//! A way that is down, in simulated time: who is tried when, and in which order they are taken.

use std::collections::BTreeMap;

use super::*;
use crate::{backoff, fixtures::time};

fn place(number: i64) -> Place {
    (time(number), format!("i-{number}"))
}

fn number(place: &Place) -> i64 {
    place.1[2..].parse().unwrap()
}

/// A receiver, asked again until `until` seconds: when a page was asked about, which it was, and whether it was taken.
struct World<F: Fn(i64, i64) -> bool> {
    line: Line,
    begun: Instant,
    /// Whether it takes a page at a second.
    takes: F,
    log: Vec<(i64, i64, bool)>,
}

impl<F: Fn(i64, i64) -> bool> World<F> {
    fn new(takes: F) -> Self {
        let begun = Instant::now();
        let line = Line::new(backoff::rng("a", "alice/email"), begun);
        Self { line, begun, takes, log: Vec::new() }
    }

    fn at(&self, second: i64) -> Instant {
        self.begun + Duration::from_secs(u64::try_from(second).unwrap())
    }

    /// A new page: its own attempt, when the line has had its turn.
    fn arrive(&mut self, page: i64, second: i64) {
        let downs = self.line.downs();
        self.line.hurry(self.at(second));
        self.rounds(second);
        assert!(self.line.is_empty() || self.line.downs() > downs || self.log.last().unwrap().2);
        let taken = (self.takes)(second, page);
        self.log.push((second, page, taken));
        match taken {
            true => self.line.works(self.at(second)),
            false => self.line.refused(place(page), None, self.at(second)),
        }
    }

    /// Everything that is due at this second.
    fn rounds(&mut self, second: i64) {
        let now = self.at(second);
        while let Some(next) = self.line.next(now) {
            let page = number(&next);
            let taken = (self.takes)(second, page);
            self.log.push((second, page, taken));
            self.line.tried(&next, taken, None, now);
        }
    }

    fn taken(&self) -> Vec<i64> {
        self.log.iter().filter(|(_, _, taken)| *taken).map(|(_, page, _)| *page).collect()
    }
}

#[test]
fn a_receiver_that_is_away_for_an_hour_loses_nothing_and_keeps_the_order() {
    const BACK: i64 = 3_600;
    let mut world = World::new(|second, _| second >= BACK);
    // One every half minute during the outage, and one as soon as it is over.
    let arrivals: BTreeMap<i64, i64> = (0..120).map(|page| (page * 30, page)).collect();
    for second in 0..BACK {
        if let Some(page) = arrivals.get(&second) {
            world.arrive(*page, second);
        }
        world.rounds(second);
    }
    assert_eq!(world.taken(), Vec::<i64>::new());
    // One that waits does not cost an attempt a minute: it is two for a round, and three for one that is new.
    let attempts = world.log.len();
    assert!((240..1_200).contains(&attempts), "{attempts}");
    let mut newcomer = World {
        line: world.line,
        begun: world.begun,
        takes: |_: i64, _: i64| true,
        log: Vec::new(),
    };
    newcomer.arrive(120, BACK + 1);
    assert_eq!(newcomer.taken(), (0..=120).collect::<Vec<_>>(), "what is new overtakes nobody");
    assert!(newcomer.line.is_empty());
}

#[test]
fn it_is_noticed_within_a_minute_that_a_way_works_again() {
    for back in [1, 100, 3_601, 9_999] {
        let mut world = World::new(|second, _| second >= back);
        for page in 0..5 {
            world.arrive(page, 0);
        }
        for second in 0..back + 61 {
            world.rounds(second);
        }
        assert_eq!(world.taken(), [0, 1, 2, 3, 4], "{back}");
    }
}

#[test]
fn what_a_receiver_never_takes_holds_up_nobody() {
    // It does not like the first three.
    let mut world = World::new(|second, page| second >= 100 && page > 2);
    for page in 0..8 {
        world.arrive(page, page);
    }
    for second in 8..600 {
        world.rounds(second);
    }
    let mut taken = world.taken();
    taken.sort_unstable();
    assert_eq!(taken, [3, 4, 5, 6, 7]);
    // And what comes later goes at once.
    world.arrive(8, 700);
    assert_eq!(world.log.last(), Some(&(700, 8, true)));
    assert_eq!(world.line.waiting.iter().map(number).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_receiver_that_goes_away_again_is_left_alone() {
    // It takes two, and is gone.
    let mut line = Line::new(backoff::rng("a", "x"), Instant::now());
    let now = Instant::now() + Duration::from_secs(1);
    for page in 0..10 {
        line.resume(place(page), now);
    }
    let mut tried = Vec::new();
    while let Some(next) = line.next(now) {
        tried.push(number(&next));
        line.tried(&next, tried.len() <= 2, None, now);
    }
    assert_eq!(tried, [0, 1, 2, 3], "two refusals end the round");
    assert_eq!(line.downs(), 1);
    assert!(line.due().unwrap() > now);
}

#[test]
fn who_asks_for_a_pause_gets_it() {
    let mut line = Line::new(backoff::rng("a", "x"), Instant::now());
    let now = Instant::now();
    let minutes = |count| Duration::from_mins(count);
    line.refused(place(0), Some(minutes(5)), now);
    line.hurry(now);
    assert_eq!(line.next(now + minutes(4)), None);
    assert_eq!(line.next(now + minutes(5)), Some(place(0)));
    // An hour is too long.
    line.tried(&place(0), false, Some(minutes(60)), now + minutes(5));
    assert_eq!(line.next(now + minutes(5)), None);
    assert_eq!(line.next(now + minutes(15)), Some(place(0)));
}

#[test]
fn who_leaves_lets_the_next_one_go() {
    let mut line = Line::new(backoff::rng("a", "x"), Instant::now());
    let now = Instant::now() + Duration::from_secs(1);
    for page in 0..3 {
        line.resume(place(page), now);
    }
    assert_eq!(line.next(now), Some(place(0)));
    assert_eq!(line.next(now), None, "one at a time");
    // Somebody took its incident meanwhile.
    line.leave(&place(0));
    assert_eq!(line.next(now), Some(place(1)));
    line.tried(&place(1), true, None, now);
    line.leave(&place(2));
    assert_eq!(line.next(now), None);
    assert!(line.is_empty());
}
