//! Checks that wait for a permit: one of each service in turn, the oldest first within a service, so that a service of which
//! everything hangs keeps the others waiting for no more than its turn. Pure.

use std::collections::{HashMap, VecDeque};

/// Holds every check once at most, and so no more than there are checks.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    of_service: HashMap<String, VecDeque<u64>>,
    /// Services with checks that wait.
    turns: VecDeque<String>,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(crate) fn push(&mut self, service: &str, check: u64) {
        match self.of_service.get_mut(service) {
            Some(waiting) => waiting.push_back(check),
            None => {
                self.of_service.insert(service.to_owned(), VecDeque::from([check]));
                self.turns.push_back(service.to_owned());
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<u64> {
        let service = self.turns.pop_front()?;
        let waiting = self.of_service.get_mut(&service)?;
        let check = waiting.pop_front();
        if waiting.is_empty() {
            self.of_service.remove(&service);
        } else {
            self.turns.push_back(service);
        }
        check
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn services_take_turns() {
        let mut queue = Queue::default();
        for (service, check) in
            [("big", 1), ("big", 2), ("big", 3), ("a", 4), ("big", 5), ("b", 6), ("a", 7)]
        {
            queue.push(service, check);
        }
        assert!(!queue.is_empty());
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [1, 4, 6, 2, 7, 3, 5]);
        assert!(queue.of_service.is_empty() && queue.is_empty());
    }

    proptest! {
        /// All come out, each service's in their order, and nobody waits for more than one of each other service.
        #[test]
        fn fair(pushed in prop::collection::vec(0_u8..5, 0..60)) {
            let mut queue = Queue::default();
            for (check, service) in (0..).zip(&pushed) {
                queue.push(&service.to_string(), check);
            }
            let order: Vec<u64> = std::iter::from_fn(|| queue.pop()).collect();
            prop_assert_eq!(order.len(), pushed.len());
            let service = |check: u64| pushed[usize::try_from(check).expect("small")];
            for (at, check) in order.iter().enumerate() {
                let same = order[at + 1..].iter().position(|c| service(*c) == service(*check));
                if let Some(gap) = same {
                    prop_assert!(order[at + 1 + gap] > *check);
                    let between = &order[at + 1..at + 1 + gap];
                    prop_assert!((0..5).all(|s| between.iter().filter(|c| service(**c) == s).count() <= 1));
                }
            }
        }
    }
}
