//! From opinions to a verdict. Pure.
//!
//! A check is critical when a [`Jury`] of its opinions says so, by default a strict majority; an instance when one of its
//! checks is. It is passing when every check has opinions enough and none is critical. Anything else is unknown, and
//! unknown changes nothing: when the collectors are gone, no service goes down.
//!
//! ```text
//! http: critical critical passing    2 of 3: critical
//! tcp:  passing  critical            1 of 2: not a strict majority
//! => critical, agree 2, opinions 3
//! ```

use watchkeep_catalog::{Instance, Opinion, Quorum, Status, Time};

/// Who decides on a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jury {
    /// How many opinions make it critical.
    pub(crate) quorum: Quorum,
    /// With fewer opinions than this neither a majority nor all of them decide anything, and nothing is passing.
    pub(crate) heard_min: usize,
}

impl Jury {
    /// `configured` opinions, but no more than there are collectors to have one.
    pub(crate) fn new(quorum: Quorum, configured: u32, collectors: usize) -> Self {
        let configured = usize::try_from(configured).unwrap_or(usize::MAX);
        Self { quorum, heard_min: configured.min(collectors).max(1) }
    }

    /// Whether `against` of `heard` opinions make a check critical.
    fn is_critical(self, against: usize, heard: usize) -> bool {
        let enough = heard >= self.heard_min;
        match self.quorum {
            Quorum::Majority => enough && against * 2 > heard,
            Quorum::Any => against > 0,
            Quorum::All => enough && against > 0 && against == heard,
            Quorum::Count(count) => against >= usize::try_from(count).unwrap_or(usize::MAX),
        }
    }
}

/// What the opinions say, all together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tally {
    pub(crate) status: Status,
    pub(crate) first_seen: Time,
    /// When the opinion that tipped the scale was formed.
    pub(crate) since: Time,
    pub(crate) reason: String,
    pub(crate) agree: u32,
    pub(crate) opinions: u32,
    pub(crate) trace_parent: Option<String>,
    /// The checks that are critical.
    pub(crate) critical: Vec<String>,
}

/// An opinion and the check it is about.
pub(crate) type Heard<'a> = (&'a str, &'a Opinion);

/// Counts the opinions on the checks that the instance has now; none when they decide nothing.
pub(crate) fn tally(instance: &Instance, opinions: &[Heard<'_>], jury: Jury) -> Option<Tally> {
    if instance.checks.is_empty() {
        return None;
    }
    let mut unknown = false;
    let mut critical: Option<Tally> = None;
    let mut names = Vec::new();
    for check in &instance.checks {
        let of_check: Vec<_> = opinions.iter().copied().filter(|(c, _)| *c == check.name).collect();
        unknown |= of_check.len() < jury.heard_min;
        let against = agreeing(Status::Critical, &of_check);
        if jury.is_critical(against.len(), of_check.len()) {
            names.push(check.name.clone());
            let found = summary(Status::Critical, &against, of_check.len());
            // Of several critical checks the one that failed first speaks.
            critical = match (critical, found) {
                (Some(a), Some(b)) => Some(if b.first_seen < a.first_seen { b } else { a }),
                (a, b) => a.or(b),
            };
        }
    }
    if let Some(tally) = critical {
        return Some(Tally { critical: names, ..tally });
    }
    if unknown {
        return None;
    }
    let known: Vec<_> = opinions
        .iter()
        .copied()
        .filter(|(check, _)| instance.checks.iter().any(|c| c.name == *check))
        .collect();
    summary(Status::Passing, &agreeing(Status::Passing, &known), known.len())
}

fn agreeing<'a>(status: Status, opinions: &[Heard<'a>]) -> Vec<Heard<'a>> {
    opinions.iter().copied().filter(|(_, opinion)| opinion.status == status).collect()
}

/// The latest of the agreeing opinions tipped the scale; the earliest saw it first.
fn summary(status: Status, agree: &[Heard<'_>], opinions: usize) -> Option<Tally> {
    let (check, tipping) = agree.iter().max_by_key(|(_, opinion)| opinion.since)?;
    let first_seen = agree.iter().map(|(_, opinion)| opinion.first_seen).min()?;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Some(Tally {
        status,
        first_seen,
        since: tipping.since,
        reason: format!("{check}: {}", tipping.reason),
        agree: count(agree.len()),
        opinions: count(opinions),
        trace_parent: tipping.trace_parent.clone(),
        critical: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use watchkeep_catalog::Check;

    use super::*;
    use crate::fixtures::{instance, opinion, time};

    fn check_named(name: &str) -> Check {
        let known = instance("web", "web-1").checks.remove(0);
        Check { name: name.to_owned(), ..Arc::unwrap_or_clone(known) }
    }

    /// `http=cc-p tcp=p`: the opinions per check, c critical, p passing.
    fn tally_of(text: &str) -> Option<Tally> {
        tally_by(text, Jury::new(Quorum::Majority, 1, 3))
    }

    fn tally_by(text: &str, jury: Jury) -> Option<Tally> {
        let mut subject = instance("web", "web-1");
        subject.checks.clear();
        let mut opinions = Vec::new();
        for part in text.split_whitespace() {
            let (name, said) = part.split_once('=').unwrap();
            if !name.starts_with('!') {
                subject.checks.push(check_named(name).into());
            }
            for (at, letter) in said.chars().enumerate() {
                let status = if letter == 'c' { Status::Critical } else { Status::Passing };
                let second = i64::try_from(at).unwrap();
                opinions.push((name.trim_start_matches('!'), opinion(status, second)));
            }
        }
        let heard: Vec<_> = opinions.iter().map(|(check, opinion)| (*check, opinion)).collect();
        tally(&subject, &heard, jury)
    }

    #[test]
    fn majorities() {
        use Status::{Critical, Passing};
        for (opinions, expected) in [
            ("", None),
            ("http=", None),
            ("http=p", Some((Passing, 1, 1))),
            ("http=c", Some((Critical, 1, 1))),
            ("http=cp", Some((Passing, 1, 2))),
            ("http=ccp", Some((Critical, 2, 3))),
            ("http=cpp", Some((Passing, 2, 3))),
            ("http=ppp tcp=cc", Some((Critical, 2, 2))),
            ("http=ppp tcp=", None),
            ("http=c tcp=", Some((Critical, 1, 1))),
            ("http=p tcp=pp", Some((Passing, 3, 3))),
            // A check that the instance no longer has.
            ("http=p !old=ccc", Some((Passing, 1, 1))),
        ] {
            let found = tally_of(opinions).map(|t| (t.status, t.agree, t.opinions));
            assert_eq!(found, expected, "{opinions}");
        }
    }

    #[test]
    fn juries() {
        use Quorum::{All, Any, Count, Majority};
        use Status::{Critical, Passing};
        for (quorum, configured, collectors, opinions, expected) in [
            // One of three is not heard, or two.
            (Majority, 2, 3, "http=cc", Some(Critical)),
            (Majority, 2, 3, "http=c", None),
            (Majority, 2, 3, "http=p", None),
            // There is but one.
            (Majority, 2, 1, "http=c", Some(Critical)),
            (Majority, 2, 0, "http=p", Some(Passing)),
            (Any, 2, 3, "http=cpp", Some(Critical)),
            (Any, 2, 3, "http=c", Some(Critical)),
            (Any, 2, 3, "http=p", None),
            (All, 2, 3, "http=ccp", Some(Passing)),
            (All, 2, 3, "http=ccc", Some(Critical)),
            (All, 2, 3, "http=c", None),
            (Count(3), 2, 3, "http=ccp", Some(Passing)),
            (Count(2), 2, 5, "http=ccppp", Some(Critical)),
            (Count(2), 1, 1, "http=c", None),
        ] {
            let found = tally_by(opinions, Jury::new(quorum, configured, collectors));
            let status = found.as_ref().map(|tally| tally.status);
            assert_eq!(status, expected, "{quorum} {configured} {collectors} {opinions}");
            let named = found.is_some_and(|tally| tally.critical == ["http"]);
            assert_eq!(named, expected == Some(Critical));
        }
    }

    #[test]
    fn the_first_saw_it_and_the_last_tipped_the_scale() {
        let tally = tally_of("http=ccc").unwrap();
        assert_eq!(tally.first_seen, time(0));
        assert_eq!(tally.reason, "http: reason 2");
    }

    proptest! {
        /// The naive count, and: one collector more that agrees never overturns a verdict.
        #[test]
        fn agrees_with_counting(checks in prop::collection::vec("[cp]{0,5}", 1..4)) {
            let text = |checks: &[String]| checks.iter().enumerate()
                .map(|(at, said)| format!("check{at}={said}")).collect::<Vec<_>>().join(" ");
            let count = |said: &String, letter| said.chars().filter(|c| *c == letter).count();
            let critical = checks.iter().any(|said| count(said, 'c') > count(said, 'p'));
            let known = checks.iter().all(|said| !said.is_empty());
            let expected = if critical {
                Some(Status::Critical)
            } else {
                known.then_some(Status::Passing)
            };
            let status = |checks: &[String]| tally_of(&text(checks)).map(|t| t.status);
            // Ties of passing and critical have no passing opinion only when there is none at all.
            prop_assert_eq!(status(&checks), expected);
            let letter = match expected {
                Some(Status::Critical) => "c",
                Some(Status::Passing) => "p",
                None => return Ok(()),
            };
            let more: Vec<_> = checks.iter().map(|said| format!("{said}{letter}")).collect();
            prop_assert_eq!(status(&more), expected);
        }
    }
}
