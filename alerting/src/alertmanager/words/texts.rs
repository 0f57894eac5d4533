//! Every text of the configuration that may be a template, with its path: so that all are judged before anything is sent.

use serde_json::Value;

use crate::alertmanager::config::AlertmanagerConfig;

/// `(path, text)` of every text with `{{` in it, and the defaults that receivers do not name.
pub(super) fn all(config: &AlertmanagerConfig) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // Fields that are hidden when they are shown hold no templates; `routing_key` is the exception.
    let shown = serde_json::to_value(&config.receivers).unwrap_or_default();
    collect("receivers", &shown, &mut found);
    for (at, receiver) in config.receivers.iter().enumerate() {
        for (n, oncall) in receiver.oncall_configs.iter().enumerate() {
            let path = format!("receivers[{at}].oncall_configs[{n}]");
            collect(&path, &serde_json::to_value(oncall).unwrap_or_default(), &mut found);
        }
        for (n, pagerduty) in receiver.pagerduty_configs.iter().enumerate() {
            if let Some(key) = &pagerduty.routing_key {
                let path = format!("receivers[{at}].pagerduty_configs[{n}].routing_key");
                collect(&path, &Value::String(key.0.clone()), &mut found);
            }
        }
    }
    for (field, from) in [("smtp_from", &config.global.smtp_from)] {
        if let Some(from) = from {
            collect(&format!("global.{field}"), &Value::String(from.clone()), &mut found);
        }
    }
    let defaults = [
        r#"{{ template "email.default.subject" . }}"#,
        r#"{{ template "email.default.text" . }}"#,
        r#"{{ template "pagerduty.default.instances" .Alerts.Firing }}"#,
        r#"{{ template "pagerduty.default.instances" .Alerts.Resolved }}"#,
        "{{ .Alerts.Firing | len }}",
        "{{ .Alerts.Resolved | len }}",
    ];
    found.extend(defaults.iter().map(|text| ("receivers".to_owned(), (*text).to_owned())));
    found
}

fn collect(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) if text.contains("{{") => found.push((path.to_owned(), text.clone())),
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                collect(&format!("{path}[{at}]"), value, found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(&format!("{path}.{name}"), value, found);
            }
        }
        _ => {}
    }
}
