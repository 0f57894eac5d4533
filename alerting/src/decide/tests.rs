//! A table of views and what is decided on each, and the life of one instance.

use watchkeep_catalog::{FailoverState, IncidentStatus, Opinion, PageState};

use super::*;
use crate::fixtures::{instance, opinion, rules, time};

/// One instance and what the registry holds of it, as decisions change it.
struct Case {
    target: Target,
    instance: Option<Instance>,
    opinions: Vec<Opinion>,
    verdict: Option<Versioned<Verdict>>,
    incident: Option<Versioned<Incident>>,
    revision: i64,
    quiet: Option<Silence>,
    panic: Option<Panic>,
}

impl Case {
    fn new(service: &str) -> Self {
        Self {
            target: Target::new(service, "one"),
            instance: Some(instance(service, "one")),
            opinions: Vec::new(),
            verdict: None,
            incident: None,
            revision: 10,
            quiet: None,
            panic: None,
        }
    }

    /// Decides and enters what was decided.
    fn step(&mut self, statuses: &[Status], seconds: i64) -> Option<Decision> {
        self.opinions = statuses.iter().map(|status| opinion(*status, seconds)).collect();
        let open = self.incident.as_ref();
        let view = View {
            target: &self.target,
            instance: self.instance.as_ref(),
            opinions: self.opinions.iter().map(|opinion| ("tcp", opinion)).collect(),
            verdict: self.verdict.as_ref(),
            open: open.filter(|i| i.record.status != IncidentStatus::Resolved),
            jury: crate::fixtures::jury(),
            quiet: self.quiet.clone().map(|silence| Quiet { silence, instead: None }),
            hold: self.panic.as_ref().map_or(Hold::Free, Hold::Panic),
            node: "node-1",
            stopped: false,
        };
        let decision = decide(&view, &rules(), time(seconds) + chrono::TimeDelta::milliseconds(3))?;
        self.revision += 1;
        let at = self.revision;
        fn entered<T>(record: T, at: i64) -> Versioned<T> {
            Versioned { record, create_revision: at, mod_revision: at }
        }
        self.verdict = decision.verdict.clone().map(|record| entered(record, at));
        if let Some(record) = decision.incident.clone() {
            self.incident = Some(entered(record, at));
        }
        Some(decision)
    }

    fn incident(&self) -> &Incident {
        &self.incident.as_ref().unwrap().record
    }
}

use Status::{Critical, Passing};

#[test]
fn a_fault_is_one_decision() {
    let mut case = Case::new("db");
    assert_eq!(case.step(&[], 0), None);
    let first = case.step(&[Passing], 1).unwrap();
    assert!(first.incident.is_none() && first.failover.is_none());
    assert_eq!(first.verdict_revision, 0);
    assert_eq!(case.step(&[Passing, Critical], 2), None);

    let fault = case.step(&[Critical, Critical, Passing], 3).unwrap();
    let verdict = fault.verdict.unwrap();
    assert_eq!((verdict.status, verdict.agree, verdict.opinions), (Critical, 2, 3));
    let (incident, failover) = (fault.incident.unwrap(), fault.failover.unwrap());
    assert_eq!((failover.policy.as_str(), failover.state), ("any-primary", FailoverState::Pending));
    assert_eq!(incident.failover.as_ref(), Some(&failover.id));
    assert_eq!((&failover.incident, incident.on_call.as_deref()), (&incident.id, Some("alice")));
    assert_eq!(incident.started_at, time(3));
    let pages: Vec<_> = incident.pages.iter().map(|page| page.id.as_str()).collect();
    assert_eq!(pages, ["firing.alice.email", "firing.alice.webhook", "firing.ops.webhook"]);
    // The same view decides the same, ids included; the next one decides nothing.
    assert_eq!(case.step(&[Critical, Critical], 4), None);
}

#[test]
fn it_ends_when_the_instance_passes() {
    let mut case = Case::new("db");
    case.step(&[Critical], 1);
    let opened = case.incident().clone();
    for page in &mut case.incident.as_mut().unwrap().record.pages {
        let delivered = page.channel == "webhook";
        page.state = if delivered { PageState::Delivered } else { PageState::Failed };
    }
    // No opinion at all is no news.
    assert_eq!(case.step(&[], 2), None);
    let end = case.step(&[Passing], 3).unwrap();
    assert!(end.failover.is_none());
    assert_eq!(end.incident_revision, 11);
    let incident = case.incident();
    assert_eq!((&incident.id, incident.status), (&opened.id, IncidentStatus::Resolved));
    let told: Vec<_> = incident.pages[3..].iter().map(|page| page.id.as_str()).collect();
    assert_eq!(told, ["resolved.alice.webhook", "resolved.ops.webhook"]);
    // The next fault is another incident with another failover.
    let again = case.step(&[Critical], 4).unwrap();
    assert_ne!(case.incident().id, opened.id);
    assert_eq!(again.failover.unwrap().incident, case.incident().id);
}

#[test]
fn it_ends_when_there_is_nothing_left_to_watch() {
    let mut case = Case::new("db");
    assert_eq!(case.step(&[], 0), None);
    case.step(&[Critical], 1);
    case.instance.as_mut().unwrap().checks.clear();
    let end = case.step(&[Critical], 2).unwrap();
    assert_eq!((end.verdict, end.verdict_revision), (None, 11));
    assert_eq!(case.incident().status, IncidentStatus::Resolved);
    assert!(case.incident().timeline.last().unwrap().text.contains("no checks"));
    assert_eq!(case.step(&[Critical], 3), None);
}

#[test]
fn a_registration_that_runs_out_does_not_end_its_incident() {
    let mut case = Case::new("db");
    case.step(&[Critical], 1);
    let registered = case.instance.take();
    let vanished = case.step(&[], 2).unwrap();
    assert_eq!((vanished.verdict, vanished.verdict_revision), (None, 11));
    assert_eq!(case.incident().status, IncidentStatus::Triggered);
    assert!(case.incident().timeline.last().unwrap().text.contains("deregistered while critical"));
    assert_eq!(case.step(&[], 3), None, "said once");
    case.instance = registered;
    assert_eq!(case.step(&[], 4), None, "nothing is known of it yet");
    case.step(&[Passing], 5);
    assert_eq!(case.incident().status, IncidentStatus::Resolved);
}

#[test]
fn the_first_policy_that_matches_fails_over() {
    for (service, role, policy) in [
        ("db", "primary", Some("any-primary")),
        ("db", "standby", Some("second")),
        ("web", "primary", None),
    ] {
        let mut case = Case::new(service);
        case.instance.as_mut().unwrap().role = role.to_owned();
        let decision = case.step(&[Critical], 1).unwrap();
        assert_eq!(decision.failover.as_ref().map(|f| f.policy.as_str()), policy);
        assert_eq!(case.incident().failover.is_some(), policy.is_some());
    }
}

#[test]
fn an_open_incident_is_not_opened_twice() {
    let mut case = Case::new("db");
    case.step(&[Critical], 1);
    let id = case.incident().id.clone();
    // An operator deleted the verdict.
    case.verdict = None;
    let again = case.step(&[Critical], 2).unwrap();
    assert!(again.failover.is_none());
    assert_eq!((&case.incident().id, case.incident().pages.len()), (&id, 3));
    // A person resolved it while the instance is still critical: that is their word.
    incident::resolve(&mut case.incident.as_mut().unwrap().record, "bob", "resolved", time(3))
        .unwrap();
    assert_eq!(case.step(&[Critical], 4), None);
    assert!(case.step(&[Passing], 5).unwrap().incident.is_none());
}

fn silence(reason: SilenceReason, by: &str) -> Silence {
    Silence { reason, by: by.to_owned(), incident: None }
}

#[test]
fn what_was_due_in_a_maintenance_window_comes_at_its_end() {
    let mut case = Case::new("db");
    case.quiet = Some(silence(SilenceReason::Maintenance, "disks"));
    let quiet = case.step(&[Critical], 1).unwrap();
    assert!(quiet.incident.is_none() && quiet.failover.is_none());
    assert_eq!(quiet.verdict.unwrap().silenced, case.quiet);
    assert_eq!(case.step(&[Critical], 2), None, "said once");
    case.quiet = None;
    let end = case.step(&[Critical], 60).unwrap();
    let verdict = end.verdict.unwrap();
    assert_eq!((verdict.silenced, verdict.first_seen), (None, time(1)));
    assert_eq!(end.failover.unwrap().incident, case.incident().id);
    assert_eq!(case.incident().started_at, time(1));
    assert!(case.incident().timeline.last().unwrap().text.contains("maintenance window disks"));
    assert_eq!(case.incident().pages.len(), 3);
}

#[test]
fn a_fault_that_ends_in_the_window_is_never_told() {
    let mut case = Case::new("db");
    case.quiet = Some(silence(SilenceReason::Maintenance, "disks"));
    case.step(&[Critical], 1);
    let end = case.step(&[Passing], 2).unwrap();
    assert_eq!(end.verdict.unwrap().silenced, None);
    case.quiet = None;
    assert_eq!(case.step(&[Passing], 60), None);
    assert!(case.incident.is_none());
}

#[test]
fn a_window_that_opens_later_leaves_the_incident_as_it_is() {
    let mut case = Case::new("db");
    case.step(&[Critical], 1);
    case.quiet = Some(silence(SilenceReason::Maintenance, "disks"));
    assert!(case.step(&[Critical], 2).unwrap().failover.is_none());
    assert!(case.incident().timeline.last().unwrap().text.starts_with("silenced: maintenance"));
    case.quiet = None;
    let end = case.step(&[Critical], 60).unwrap();
    assert_eq!((end.incident, end.failover), (None, None), "it is open still");
    // A person resolved it: no window brings it back.
    incident::resolve(&mut case.incident.as_mut().unwrap().record, "bob", "resolved", time(61))
        .unwrap();
    case.quiet = Some(silence(SilenceReason::Maintenance, "disks"));
    assert_eq!(case.step(&[Critical], 62), None);
    case.quiet = None;
    assert_eq!(case.step(&[Critical], 63), None);
}

#[test]
fn a_child_links_to_what_it_depends_on() {
    let (child, mut parent) = (Case::new("web"), Case::new("db"));
    parent.step(&[Critical], 1);
    let critical = opinion(Critical, 2);
    let mut view = View {
        target: &child.target,
        instance: child.instance.as_ref(),
        opinions: vec![("tcp", &critical)],
        verdict: None,
        open: None,
        jury: crate::fixtures::jury(),
        quiet: Some(Quiet {
            silence: Silence {
                incident: Some(parent.incident().id.clone()),
                ..silence(SilenceReason::Dependency, "db")
            },
            instead: parent.incident.as_ref(),
        }),
        hold: Hold::Free,
        node: "node-1",
        stopped: false,
    };
    let decision = decide(&view, &rules(), time(3)).unwrap();
    assert_eq!(decision.failover, None);
    assert_eq!(
        decision.verdict.unwrap().silenced.unwrap().incident,
        Some(parent.incident().id.clone())
    );
    let noted = decision.incident.unwrap();
    assert_eq!((&noted.id, decision.incident_revision), (&parent.incident().id, 11));
    assert!(noted.timeline.last().unwrap().text.contains("nobody is told of web"));
    // The next child says it no more.
    let noted = Versioned { record: noted, create_revision: 11, mod_revision: 12 };
    view.quiet.as_mut().unwrap().instead = Some(&noted);
    assert_eq!(decide(&view, &rules(), time(4)).unwrap().incident, None);
}

#[test]
fn in_panic_the_last_good_set_is_kept() {
    let mut case = Case::new("db");
    case.step(&[Passing], 0);
    let panic = || {
        Some(Panic {
            service: "db".to_owned(),
            since: time(10),
            critical: 5,
            instances: 10,
            threshold_percent: 40,
            incident: "panic-1".to_owned(),
        })
    };
    case.panic = panic();
    assert_eq!(case.step(&[Critical], 11), None);
    // What was believed a moment before is taken back, with its incident; what was for long stays.
    for (second, taken_back) in [(9, true), (1, false)] {
        let mut case = Case::new("db");
        assert!(case.step(&[Critical], second).unwrap().failover.is_some());
        case.panic = panic();
        let decision = case.step(&[Critical], 11);
        assert_eq!(decision.is_some(), taken_back, "{second}");
        let Some(decision) = decision else { continue };
        let verdict = decision.verdict.unwrap();
        assert_eq!((verdict.status, verdict.agree), (Passing, 0));
        assert!(verdict.reason.contains("5 of 10"), "{}", verdict.reason);
        assert_eq!(case.incident().status, IncidentStatus::Resolved);
        assert!(case.incident().timeline.last().unwrap().text.contains("panic-1"));
        // When the panic is over it is judged anew.
        case.panic = None;
        assert_eq!(case.step(&[Critical], 12).unwrap().verdict.unwrap().status, Critical);
    }
}

#[test]
fn the_most_impatient_critical_check_deregisters() {
    let mut subject = instance("db", "one");
    let known = watchkeep_catalog::Check::clone(&subject.checks[0]);
    let check = |name: &str, seconds| watchkeep_catalog::Check {
        name: name.to_owned(),
        deregister_after_seconds: Some(seconds),
        ..known.clone()
    };
    subject.checks = vec![check("tcp", 60).into(), check("other", 5).into()];
    let target = Target::new("db", "one");
    let (critical, passing) = (opinion(Critical, 1), opinion(Passing, 1));
    let heard: Vec<Heard<'_>> = vec![("tcp", &critical), ("other", &passing)];
    let tally = crate::verdict::tally(&subject, &heard, crate::fixtures::jury()).unwrap();
    let record = verdict(&target, &tally, false, time(2));
    let verdict = Versioned { record, create_revision: 7, mod_revision: 7 };
    let mut view = View {
        target: &target,
        instance: Some(&subject),
        opinions: heard,
        verdict: Some(&verdict),
        open: None,
        jury: crate::fixtures::jury(),
        quiet: None,
        hold: Hold::Free,
        node: "node-1",
        stopped: false,
    };
    assert_eq!(deregister_at(&view), Some(time(62)));
    let gone = deregister(&view, 5, time(62));
    assert_eq!((gone.verdict, gone.verdict_revision, gone.deregister), (None, 7, Some(5)));
    let silence = silence(SilenceReason::Maintenance, "disks");
    view.quiet = Some(Quiet { silence, instead: None });
    assert_eq!(deregister_at(&view), None, "not inside of a maintenance window");
}

#[test]
fn who_has_never_passed_is_known_until_it_does() {
    let mut case = Case::new("db");
    let first = case.step(&[Critical], 1).unwrap();
    assert!(first.verdict.unwrap().never_passed && first.failover.unwrap().never_passed);
    assert!(!case.step(&[Passing], 2).unwrap().verdict.unwrap().never_passed);
    let fault = case.step(&[Critical], 3).unwrap();
    assert!(!fault.verdict.unwrap().never_passed && !fault.failover.unwrap().never_passed);
}
