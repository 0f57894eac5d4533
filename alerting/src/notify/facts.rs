//! What a message says of an incident, name by name, and where its links lead. Pure.

use watchkeep_catalog::Incident;

use crate::{
    alone::is_unknown,
    text::{clock, shorten},
};

/// Labels and details that a message shows besides those that have a name here; and characters of one.
const MORE_MAX: usize = 25;
const VALUE_MAX: usize = 500;

/// Alerts that have a runbook of ours, besides those whose names begin with `Watchkeep`.
pub const RUNBOOKS: [&str; 5] =
    ["FailoverFailed", "HeartbeatMissed", "IncidentReported", "InstanceCritical", "ServicePanic"];

/// The alert's runbook, if there is one. A page of ours is told what its commands name, so that they can be pasted as they are.
pub(super) fn runbook_url(url: &str, incident: &Incident) -> Option<String> {
    let own = incident.details.get("runbook_url").filter(|own| own.starts_with("http"));
    let alert = incident.alert.as_str();
    let is_ours = alert.starts_with("Watchkeep") || RUNBOOKS.contains(&alert);
    let page = own.cloned().or_else(|| is_ours.then(|| page_of(url, alert)))?;
    let ours = page.starts_with(&format!("{}/runbooks/", url.trim_end_matches('/')));
    let Some(mut found) = url::Url::parse(&page).ok().filter(|_| ours) else { return Some(page) };
    let labels = [("service", "SERVICE"), ("instance", "INSTANCE")];
    let named =
        labels.into_iter().filter_map(|(label, name)| Some((name, incident.labels.get(label)?)));
    found.query_pairs_mut().append_pair("INCIDENT", &incident.id).extend_pairs(named);
    Some(found.into())
}

/// The page of an alert, whose name may be any text.
fn page_of(url: &str, alert: &str) -> String {
    let Ok(mut page) = url::Url::parse(url) else { return format!("{url}/runbooks/{alert}") };
    if let Ok(mut segments) = page.path_segments_mut() {
        segments.pop_if_empty().extend(["runbooks", alert]);
    }
    page.into()
}

/// Where people look at it.
pub(super) fn incident_url(url: &str, incident: &Incident) -> String {
    format!("{url}/incidents/{}", incident.id)
}

/// Labels and details that have a line of their own in [`facts`], or are said elsewhere.
const NAMED_LABELS: [&str; 6] = ["alertname", "instance", "role", "service", "severity", "zone"];
const NAMED_DETAILS: [&str; 4] = ["dashboard_url", "description", "query", "runbook_url"];

/// The facts, as pairs of name and value.
pub(super) fn facts(url: &str, incident: &Incident) -> Vec<(String, String)> {
    let label = |name| incident.labels.get(name).cloned();
    let alert = Some(&incident.alert);
    let alert = alert.filter(|alert| !alert.is_empty() && !RUNBOOKS.contains(&alert.as_str()));
    let named = |named: &[(&str, Option<String>)]| -> Vec<(String, String)> {
        let said =
            named.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)));
        said.collect()
    };
    let mut facts = named(&[
        ("Service", label("service")),
        ("Instance", label("instance")),
        ("Role", label("role")),
        ("Zone", label("zone")),
        ("Alert", alert.cloned()),
    ]);
    let more = |(name, value): (&String, &String)| (name.clone(), shorten(value, VALUE_MAX));
    let labels = incident.labels.iter().filter(|(name, _)| !NAMED_LABELS.contains(&name.as_str()));
    facts.extend(labels.take(MORE_MAX).map(more));
    facts.extend(named(&[
        ("Began", Some(clock(incident.started_at))),
        ("Resolved", incident.resolved_at.map(clock)),
        ("On call", incident.on_call.clone()),
        ("Acknowledged", incident.acknowledged_by.clone()),
        ("Failover", incident.failover.clone()),
    ]));
    let said = |(name, value): &(&String, &String)| {
        !NAMED_DETAILS.contains(&name.as_str()) && **value != incident.title
    };
    facts.extend(incident.details.iter().filter(said).take(MORE_MAX).map(more));
    facts.extend(named(&[
        ("Runbook", runbook_url(url, incident)),
        ("Dashboard", incident.details.get("dashboard_url").cloned()),
        ("Incident", Some(incident_url(url, incident)).filter(|_| !is_unknown(incident))),
    ]));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::opened_incident;

    const URL: &str = "http://127.0.0.1:8480";

    #[test]
    fn an_alerts_name_is_any_text() {
        assert_eq!(page_of(URL, "Down"), format!("{URL}/runbooks/Down"));
        assert_eq!(page_of("http://w/x/", "a b/ö?"), "http://w/x/runbooks/a%20b%2F%C3%B6%3F");
    }

    #[test]
    fn the_commands_of_a_runbook_are_told_what_they_name() {
        let mut incident = opened_incident();
        let id = incident.id.clone();
        let filled =
            format!("{URL}/runbooks/InstanceCritical?INCIDENT={id}&SERVICE=db&INSTANCE=one");
        assert_eq!(runbook_url(URL, &incident), Some(filled.clone()));
        // A rule's own page of ours, too; somebody else's stays as it is.
        for (own, url) in [
            (format!("{URL}/runbooks/InstanceCritical"), filled.as_str()),
            (
                "https://wiki.example.org/runbooks/x?y=1".to_owned(),
                "https://wiki.example.org/runbooks/x?y=1",
            ),
        ] {
            incident.details.insert("runbook_url".to_owned(), own);
            assert_eq!(runbook_url(URL, &incident).as_deref(), Some(url));
        }
        // Nobody is led to a page that is not there.
        incident.alert = "DiskFull".to_owned();
        incident.details.clear();
        assert_eq!(runbook_url(URL, &incident), None);
    }
}
