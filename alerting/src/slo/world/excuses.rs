//! What maintenance excuses.

use std::collections::BTreeSet;

use super::World;
use crate::slo::{
    interval::{Cause, Span, coalesce},
    roles::{Excused, Roles},
    time::instant,
};

impl World {
    /// Its instances' roles, and what of them is excused by a window that is open within `[from, to)`.
    pub(in crate::slo) fn counting(&self, service: &str, from: i64, to: i64) -> Roles {
        let mut roles = self.roles(service);
        for (window, _) in self.windows.iter() {
            let scope = &window.record.scope;
            if scope.service.as_ref().is_some_and(|covered| covered != service) {
                continue;
            }
            let instances = match (&scope.instance, &scope.tag) {
                (None, None) => None,
                (Some(instance), None) => Some(BTreeSet::from([instance.clone()])),
                (instance, Some(tag)) => {
                    let known = self.tags.get(service).into_iter().flatten();
                    let tagged = known.filter(|(id, tags)| {
                        tags.contains(tag) && instance.as_ref().is_none_or(|only| only == *id)
                    });
                    Some(tagged.map(|(id, _)| id.clone()).collect())
                }
            };
            let comment = &window.record.comment;
            let why = match comment.is_empty() {
                true => window.record.id.clone(),
                false => format!("{}: {comment}", window.record.id),
            };
            // One that ends just where the count goes on counts too: its end is a change.
            roles.excused.extend(window.spans(instant(from - 1), instant(to)).into_iter().map(
                |span| Excused {
                    from: span.from.timestamp_millis(),
                    to: span.to.timestamp_millis(),
                    instances: instances.clone(),
                    check: scope.check.clone(),
                    why: why.clone(),
                },
            ));
        }
        roles
    }

    /// The windows that excuse something of it within `[from, to)`, as causes in the order of time.
    pub(in crate::slo) fn excuses(&self, service: &str, from: i64, to: i64) -> Vec<(i64, Cause)> {
        let excused = self.counting(service, from, to).excused.into_iter();
        let mut causes: Vec<_> = excused
            .map(|window| (window.from, Cause { reason: Some(window.why), ..Cause::default() }))
            .collect();
        causes.sort_by_key(|(at, _)| *at);
        causes
    }

    /// When a window covers the service as a whole within `[from, to)`, and which.
    pub(in crate::slo) fn away(&self, service: &str, from: i64, to: i64) -> Vec<Span> {
        let excused = self.counting(service, from, to).excused.into_iter();
        let whole = excused.filter(|window| window.instances.is_none() && window.check.is_none());
        let spans = whole.filter_map(|window| {
            let mut span = Span::new(window.from, window.to, false);
            span.cause.reason = Some(window.why);
            span.clip(from, to)
        });
        coalesce(spans.collect())
    }
}
