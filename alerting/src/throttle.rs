//! A storm of pages to one person: up to a limit each is a message of its own; beyond it all that wait become one. Pure.
//!
//! With three messages a minute and a page every second: messages at 0, 1 and 2 s, and at 60 s one with the fifty-eight that
//! have come since. What was sent when stands in the incidents, so whoever leads next counts on.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use watchkeep_catalog::{Incident, PageState, Time};

use crate::config::RateLimit;

/// A person and a channel.
pub(crate) type Way = (String, String);

/// What is to be done with the pages that wait for one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Each is a message.
    Each,
    /// All of them are one message.
    Together,
    /// They wait until one more message fits.
    Wait,
}

/// Messages of the last while, by way and by what they are known by: the summary, or incident and page.
#[derive(Debug, Default)]
pub(crate) struct Sent(BTreeMap<Way, BTreeMap<String, Time>>);

impl Sent {
    /// Notes what was sent of an incident; the same twice counts once.
    pub(crate) fn learn(&mut self, incident: &Incident, limit: RateLimit, now: Time) {
        for page in &incident.pages {
            let Some(at) = page.finished_at.filter(|at| *at > now - span(limit)) else { continue };
            if page.state != PageState::Delivered {
                continue;
            }
            let own = || format!("{}/{}", incident.id, page.id);
            let message = page.summary.clone().unwrap_or_else(own);
            let way = (page.receiver.clone(), page.channel.clone());
            let sent = self.0.entry(way).or_default();
            // Of ways by which nothing waits nobody asks; and a leader's clock may have been ahead.
            sent.retain(|_, at| *at > now - span(limit));
            sent.entry(message).or_insert(at.min(now));
        }
    }

    /// `waiting` pages wait for this way, and `under_way` messages are being sent by it.
    pub(crate) fn turn(
        &mut self,
        limit: RateLimit,
        way: &Way,
        (waiting, under_way): (usize, usize),
        now: Time,
    ) -> Turn {
        let sent = self.0.get_mut(way).map_or(0, |sent| {
            sent.retain(|_, at| *at > now - span(limit));
            sent.len()
        });
        let most = usize::try_from(limit.messages).unwrap_or(usize::MAX);
        match most.saturating_sub(sent + under_way) {
            0 => Turn::Wait,
            room if waiting <= room => Turn::Each,
            _ => Turn::Together,
        }
    }
}

fn span(limit: RateLimit) -> TimeDelta {
    TimeDelta::seconds(i64::from(limit.per_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{opened_incident, time},
        incident::{self, PageOutcome},
    };

    const LIMIT: RateLimit = RateLimit { messages: 3, per_seconds: 60 };

    /// An incident with one page to alice by mail, opened then.
    fn paged(number: usize) -> Incident {
        let mut incident = opened_incident();
        incident.id = format!("i-{number}");
        incident.pages.retain(|page| page.receiver == "alice" && page.channel == "email");
        assert_eq!(incident.pages.len(), 1);
        incident
    }

    /// Simulated time: pages come at these seconds; what is sent when, and how many pages are in each message. `crash` is
    /// when another node takes over, which knows only what stands in the incidents.
    fn simulate(arrivals: &[i64], crash: Option<i64>, end: i64) -> Vec<(i64, usize)> {
        let way = ("alice".to_owned(), "email".to_owned());
        let (mut sent, mut messages) = (Sent::default(), Vec::new());
        let (mut waiting, mut done): (Vec<Incident>, Vec<Incident>) = (Vec::new(), Vec::new());
        for second in 0..end {
            let come = arrivals.iter().filter(|at| **at == second).count();
            let first = waiting.len() + done.len();
            waiting.extend((first..first + come).map(paged));
            if crash == Some(second) {
                sent = Sent::default();
                for incident in &done {
                    sent.learn(incident, LIMIT, time(second));
                }
            }
            if waiting.is_empty() {
                continue;
            }
            let groups: Vec<Vec<Incident>> =
                match sent.turn(LIMIT, &way, (waiting.len(), 0), time(second)) {
                    Turn::Each => waiting.drain(..).map(|incident| vec![incident]).collect(),
                    Turn::Together => vec![std::mem::take(&mut waiting)],
                    Turn::Wait => Vec::new(),
                };
            for mut group in groups {
                messages.push((second, group.len()));
                for incident in &mut group {
                    let page = incident.pages[0].id.clone();
                    let together = messages.len().to_string();
                    if incident::join_summary(incident, &page, &together) {
                        let delivered = PageOutcome::Delivered;
                        incident::page_attempted(incident, &page, 1, &delivered, time(second));
                    }
                    sent.learn(incident, LIMIT, time(second));
                }
                done.extend(group);
            }
        }
        assert_eq!(done.len() + waiting.len(), arrivals.len(), "none is lost");
        messages
    }

    #[test]
    fn a_storm_becomes_one_message() {
        let each_second: Vec<i64> = (0..100).collect();
        let all_at_once = vec![5; 200];
        for (arrivals, messages) in [
            (vec![0, 1], vec![(0, 1), (1, 1)]),
            (vec![0; 3], vec![(0, 1); 3]),
            (vec![0; 4], vec![(0, 4)]),
            (all_at_once, vec![(5, 200)]),
            // The window slides: a message leaves it a minute after it was sent.
            (each_second, vec![(0, 1), (1, 1), (2, 1), (60, 58), (61, 1), (62, 1)]),
            (vec![0, 0, 30, 70, 70, 70], vec![(0, 1), (0, 1), (30, 1), (70, 3)]),
        ] {
            let all = simulate(&arrivals, None, 119);
            assert_eq!(all, messages, "{arrivals:?}");
            // Whoever takes over goes on in the same way.
            for crash in [1, 29, 61] {
                assert_eq!(simulate(&arrivals, Some(crash), 119), all, "{arrivals:?}, {crash}");
            }
        }
    }

    #[test]
    fn the_limit_holds_over_every_minute() {
        let mut seed = 7_u64;
        for _ in 0..200 {
            let mut next = |below: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) % below
            };
            let count = next(80);
            let mut arrivals: Vec<i64> =
                (0..count).map(|_| i64::try_from(next(300)).unwrap()).collect();
            arrivals.sort_unstable();
            let messages = simulate(&arrivals, None, 400);
            for (at, _) in &messages {
                let within = messages.iter().filter(|(m, _)| (*at - 59..=*at).contains(m)).count();
                assert!(within <= 3, "{arrivals:?}: {messages:?}");
            }
            let told: usize = messages.iter().map(|(_, pages)| pages).sum();
            assert_eq!(told, arrivals.len(), "nobody waits for ever: {arrivals:?}");
        }
    }

    /// Programs are told of each page, without a limit, and nobody asks for their turn.
    #[test]
    fn what_was_sent_is_forgotten_in_time() {
        let mut sent = Sent::default();
        for number in 0..1_000 {
            let mut incident = paged(number);
            let (page, at) = (incident.pages[0].id.clone(), time(i64::try_from(number).unwrap()));
            incident::page_attempted(&mut incident, &page, 1, &PageOutcome::Delivered, at);
            sent.learn(&incident, LIMIT, at);
        }
        assert_eq!(sent.0.values().map(BTreeMap::len).sum::<usize>(), 60);
    }

    /// The leader before was an hour ahead.
    #[test]
    fn a_clock_that_was_ahead_holds_up_nobody() {
        let mut sent = Sent::default();
        for number in 0..3 {
            let mut incident = paged(number);
            let page = incident.pages[0].id.clone();
            let ahead = time(3_600);
            incident::page_attempted(&mut incident, &page, 1, &PageOutcome::Delivered, ahead);
            sent.learn(&incident, LIMIT, time(0));
        }
        let way = ("alice".to_owned(), "email".to_owned());
        assert_eq!(sent.turn(LIMIT, &way, (1, 0), time(59)), Turn::Wait);
        assert_eq!(sent.turn(LIMIT, &way, (1, 0), time(60)), Turn::Each);
    }

    #[test]
    fn what_is_under_way_counts() {
        let way = ("alice".to_owned(), "email".to_owned());
        let mut sent = Sent::default();
        for (waiting, under_way, turn) in
            [(1, 2, Turn::Each), (2, 2, Turn::Together), (1, 3, Turn::Wait), (9, 9, Turn::Wait)]
        {
            assert_eq!(sent.turn(LIMIT, &way, (waiting, under_way), time(0)), turn);
        }
    }
}
