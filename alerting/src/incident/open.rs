//! Whom a new incident is told to: by an escalation policy, or at once whoever is on call. Pure.

use watchkeep_catalog::{Incident, PageKind, Time};

use super::{WATCHKEEP, call, note, page};
use crate::{escalation, incident::Recipient, rules::Rules};

/// Decides who is told of a new incident: by the policy `wanted`, else by the one of `pages`, else by
/// `pages.schedule`; the receivers of `pages` always are.
pub(crate) fn tell(incident: &mut Incident, rules: &Rules, wanted: Option<&str>, now: Time) {
    let policy = wanted.or(rules.pages.escalation.as_deref()).filter(|name| rules.escalates(name));
    let receivers = rules.receivers();
    if let Some(name) = policy {
        incident.on_call = rules.first_on_call(name, now);
        escalation::restart(incident, name, now);
        let also = if receivers.is_empty() {
            String::new()
        } else {
            format!("; {}", told(None, &receivers))
        };
        note(incident, now, WATCHKEEP, format!("escalation policy {name} begins{also}"));
    } else {
        let on_call = rules.on_call(now);
        let urgent = rules.is_urgent(&incident.severity);
        let calls = on_call.iter().flat_map(|person| rules.calls(person, urgent));
        let calls: Vec<_> = calls.collect();
        let mut recipients: Vec<Recipient> = calls.iter().map(|(r, _)| r.clone()).collect();
        recipients.extend(receivers.iter().cloned());
        note(incident, now, WATCHKEEP, told(on_call.as_deref(), &recipients));
        call(incident, "firing", &calls, now);
        incident.on_call = on_call;
    }
    page(incident, "firing", PageKind::Firing, &receivers);
}

/// Who is paged, in words.
pub(crate) fn told(on_call: Option<&str>, recipients: &[Recipient]) -> String {
    let mut names: Vec<String> = Vec::new();
    for Recipient { receiver, .. } in recipients {
        let mark = if on_call == Some(receiver) { " (on call)" } else { "" };
        let name = format!("{receiver}{mark}");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return "nobody is paged: set pages.escalation, pages.schedule or pages.receivers"
            .to_owned();
    }
    format!("paging {}", names.join(", "))
}
