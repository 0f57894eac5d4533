//! On whose account somebody is told, and what ends when that changes.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Conductor;
use crate::{clock, leader::Term};

/// On whose account somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Office {
    /// This node leads; the number fences its writes.
    Leader(i64),
    /// The registry is lost.
    Alone,
}

impl Conductor {
    /// In a new office everything is looked at anew; what was under way in the old one stops. With another configuration
    /// everything is looked at anew, too, but who is being told by a way that has not changed is not told once more.
    pub(super) fn take_office(&mut self, term: Term) {
        let office = match term {
            _ if self.shared.is_lost() => Some(Office::Alone),
            // Once the board shows the own election, it shows what was told before.
            Some(fence) if self.shared.board().revision >= fence => Some(Office::Leader(fence)),
            _ => None,
        };
        let epoch = self.shared.board().epoch;
        if (office, epoch) == (self.office, self.epoch) {
            return;
        }
        if office == self.office {
            self.stop_changed();
        } else {
            self.tasks = JoinSet::new();
            self.running.clear();
            (self.writes, self.arriving, self.tidying) = (0, false, false);
            self.writing.clear();
            self.failing_since = None;
        }
        (self.office, self.epoch) = (office, epoch);
        self.queue.clear();
        self.singly = 0;
        {
            let mut board = self.shared.board_mut();
            board.under_way.retain(|id, _| self.running.contains_key(id));
            match office {
                Some(_) => board.begin(clock::now()),
                None => board.end(),
            }
        }
        self.catch_up(usize::MAX);
    }

    /// Deliveries by ways that the configuration has no more, or has otherwise.
    fn stop_changed(&mut self) {
        let plan = Arc::clone(&self.shared.board().plan);
        self.running.retain(|_, running| {
            let stays = plan.keeps(&running.integration, &running.plan);
            if !stays {
                running.task.abort();
            }
            stays
        });
    }
}
