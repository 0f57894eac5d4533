//! Since when pages wait to be delivered, for the age of the oldest. Pure.

use std::collections::HashMap;

use chrono::TimeDelta;
use watchkeep_catalog::{Incident, Page, PageKind, PageState, Time};

/// By incident and page.
#[derive(Debug, Default)]
pub(super) struct Waiting(HashMap<(String, String), Time>);

impl Waiting {
    /// Takes in which pages wait at `now`; answers with how long the oldest does.
    pub(super) fn oldest<'a>(
        &mut self,
        incidents: impl Iterator<Item = &'a Incident>,
        now: Time,
    ) -> TimeDelta {
        let before = std::mem::take(&mut self.0);
        for incident in incidents {
            for page in incident.pages.iter().filter(|page| is_due(page, now)) {
                let key = (incident.id.clone(), page.id.clone());
                let since = before.get(&key).copied();
                self.0.insert(key, since.unwrap_or_else(|| begun(incident, page, now)));
            }
        }
        let oldest = self.0.values().min().map(|since| now - *since);
        oldest.unwrap_or_default().max(TimeDelta::zero())
    }
}

fn is_due(page: &Page, now: Time) -> bool {
    page.state == PageState::Pending && page.not_before.is_none_or(|at| at <= now)
}

/// Since when it has been due, as far as the incident tells; what it does not tell began when it was first seen.
fn begun(incident: &Incident, page: &Page, now: Time) -> Time {
    let first = page.id.starts_with("firing.").then_some(incident.opened_at);
    let told = match page.kind {
        PageKind::Resolved => incident.resolved_at,
        PageKind::Firing => page.not_before.or(first),
    };
    told.unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{opened_incident, time},
        incident::{PageOutcome, page_attempted},
    };

    #[test]
    fn the_oldest_page_has_an_age() {
        let mut waiting = Waiting::default();
        let mut incident = opened_incident();
        incident.opened_at = time(10);
        let mut at = |incident: &Incident, seconds| {
            waiting.oldest([incident].into_iter(), time(seconds)).num_seconds()
        };
        assert_eq!(at(&incident, 40), 30, "another leader may have opened it");
        // One that is not due yet, and one of which nobody knows since when.
        incident.pages[0].not_before = Some(time(100));
        let mut help = incident.pages[0].clone();
        (help.id, help.not_before) = ("help-1.alice.email".to_owned(), None);
        for page in &mut incident.pages[1..] {
            page.state = PageState::Delivered;
        }
        assert_eq!(at(&incident, 50), 0);
        incident.pages.push(help);
        assert_eq!((at(&incident, 60), at(&incident, 75)), (0, 15));
        assert_eq!(at(&incident, 130), 70);
        let done = PageOutcome::Delivered;
        page_attempted(&mut incident, "help-1.alice.email", 1, &done, time(131));
        assert_eq!(at(&incident, 140), 40);
    }
}
