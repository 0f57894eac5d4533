//! What our own messages and users' templates say.

use super::*;
use crate::alertmanager::payload::{Payload, PayloadAlert};
use crate::fixtures::time as at;

fn set(pairs: &[(&str, &str)]) -> LabelSet {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn payload() -> Payload {
    let alert = |status, instance: &str| PayloadAlert {
        status,
        labels: set(&[("alertname", "Down"), ("cluster", "x<y"), ("instance", instance)]),
        annotations: set(&[("summary", &format!("{instance} is down"))]),
        starts_at: Some(at(0)),
        ends_at: (status == "resolved").then(|| at(60)),
        generator_url: "http://prometheus.example.org/graph".to_owned(),
        fingerprint: "0".repeat(16),
    };
    Payload {
        receiver: "ops".to_owned(),
        status: "firing",
        alerts: vec![alert("firing", "a"), alert("firing", "b"), alert("resolved", "c")],
        group_labels: set(&[("alertname", "Down")]),
        common_labels: set(&[("alertname", "Down"), ("cluster", "x<y")]),
        common_annotations: LabelSet::new(),
        external_url: "http://alerts.example.org".to_owned(),
        version: "4",
        group_key: "{}:{alertname=\"Down\"}".to_owned(),
        truncated_alerts: 0,
        watchkeep_notice: None,
    }
}

fn words(texts: &[&str]) -> Result<Words, Vec<Invalid>> {
    let slack: Vec<_> = texts
        .iter()
        .map(|text| serde_json::json!({"api_url": "http://x/", "text": text}))
        .collect();
    let config = serde_json::json!({
        "route": {"receiver": "a"},
        "receivers": [{"name": "a", "slack_configs": slack, "email_configs": [{"to": "a@b.example"}]}],
    });
    let config: AlertmanagerConfig = serde_json::from_value(config).unwrap();
    Words::new(&config, "http://alerts.example.org")
}

#[test]
fn alertmanagers_data_and_functions() {
    let cases = [
        (r#"{{ template "__subject" . }}"#, "[FIRING:2] Down (x<y)"),
        (r#"{{ template "slack.default.title" . }}"#, "[FIRING:2] Down (x<y)"),
        (r#"{{ template "oncall.default.title" . }}"#, "2 alerts: Down (x<y)"),
        (
            r#"{{ template "slack.default.titlelink" . }}"#,
            "http://alerts.example.org/#/alerts?receiver=ops",
        ),
        ("{{ .Alerts | len }} {{ .Alerts.Firing | len }} {{ len .Alerts.Resolved }}", "3 2 1"),
        ("{{ range .Alerts.Firing }}{{ .Labels.instance }},{{ end }}", "a,b,"),
        (r#"{{ .CommonLabels.SortedPairs.Names | join "," }}"#, "alertname,cluster"),
        (r#"{{ (.CommonLabels.Remove .GroupLabels.Names).Values | join "," }}"#, "x<y"),
        (r#"{{ (index .Alerts 0).StartsAt.Format "15:04" }}"#, "09:00"),
        (r#"{{ .GroupLabels.alertname | toUpper }}{{ .GroupLabels.none }}"#, "DOWN"),
        (r#"{{ reReplaceAll "D(.*)" "T$1" .GroupLabels.alertname }}"#, "Town"),
        (r#"{{ join "-" (stringSlice "a" "b") }} {{ "  x " | trimSpace }}"#, "a-b x"),
        (
            r#"{{ ((index .Alerts 0).StartsAt | tz "Europe/Berlin").Format "15:04 -07:00" }}"#,
            "10:00 +01:00",
        ),
        (r#"{{ (index .Alerts 0).StartsAt | tz "America/New_York" | date "15:04" }}"#, "04:00"),
        (
            r#"{{ if gt (since (index .Alerts 0).StartsAt).Seconds 1.0 }}long ago{{ end }}"#,
            "long ago",
        ),
        (r#"{{ .CommonLabels | toJson }}"#, r#"{"alertname":"Down","cluster":"x\u003cy"}"#),
        (
            r#"{{ range .Alerts.Resolved }}{{ toJson .EndsAt }} {{ toJson .Labels.SortedPairs.Names }}{{ end }}"#,
            r#""2026-01-05T09:01:00Z" ["alertname","cluster","instance"]"#,
        ),
        (r#"{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}"#, "danger"),
    ];
    let words = words(&cases.map(|(text, _)| text)).expect("good templates");
    for (text, expected) in cases {
        assert_eq!(words.text(text, &payload()), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn a_mail_is_html_and_escapes() {
    let words = words(&[]).expect("our own templates are good");
    let html = words.html(r#"{{ template "email.default.html" . }}"#, &payload()).expect("HTML");
    assert!(html.contains("x&lt;y") && !html.contains("x<y"), "{html}");
    assert!(
        html.contains("2 firing") && html.contains("1 over") && html.contains("a is down"),
        "{html}"
    );
}

#[test]
fn every_default_name_of_alertmanager_is_there() {
    for name in [
        "__alertmanager",
        "__alertmanagerURL",
        "__subject",
        "__description",
        "__text_alert_list",
        "slack.default.title",
        "slack.default.username",
        "slack.default.fallback",
        "slack.default.callbackid",
        "slack.default.pretext",
        "slack.default.titlelink",
        "slack.default.iconemoji",
        "slack.default.iconurl",
        "slack.default.text",
        "slack.default.footer",
        "pagerduty.default.description",
        "pagerduty.default.client",
        "pagerduty.default.clientURL",
        "opsgenie.default.message",
        "opsgenie.default.description",
        "opsgenie.default.source",
        "email.default.subject",
        "email.default.html",
        "email.default.text",
        "oncall.default.title",
        "oncall.default.severity",
        "telegram.default.message",
        "discord.default.title",
        "discord.default.message",
        "msteamsv2.default.title",
        "msteamsv2.default.text",
    ] {
        let text = format!("{{{{ template {name:?} . }}}}");
        let data = if name == "__text_alert_list" {
            "{{ template \"__text_alert_list\" .Alerts }}"
        } else {
            &text
        };
        let words = words(&[data]).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert!(words.text(data, &payload()).is_ok(), "{name}: {:?}", words.text(data, &payload()));
    }
}

#[test]
fn a_wrong_template_is_named() {
    let wrong = words(&["{{ nope }}"]).err().expect("no such function");
    assert_eq!(wrong[0].path, "receivers[0].slack_configs[0].text");
    assert!(wrong[0].message.contains("nope"), "{}", wrong[0].message);
}

/// It would be found when the first alert is to be told.
#[test]
fn a_template_that_is_not_there_is_named() {
    for text in [
        r#"{{ template "slack.mine.title" . }}"#,
        r#"{{ if .Alerts }}a{{ else }}{{ range .Alerts }}{{ template "slack.mine.title" . }}{{ end }}{{ end }}"#,
        r#"{{ define "a" }}{{ template "slack.mine.title" }}{{ end }}{{ template "a" }}"#,
    ] {
        let wrong = words(&[text]).err().expect(text);
        assert_eq!(wrong[0].path, "receivers[0].slack_configs[0].text");
        assert!(wrong[0].message.contains("\"slack.mine.title\" is defined nowhere"), "{wrong:?}");
    }
}

#[test]
fn template_files_are_found_as_a_shell_finds_them() {
    let dir = tempfile::tempdir().unwrap();
    for (name, folder) in [("a", "one"), ("b", "two")] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
        let text = format!("{{{{ define {name:?} }}}}I am {name}{{{{ end }}}}");
        std::fs::write(dir.path().join(folder).join("x.tmpl"), text).unwrap();
    }
    let words = |pattern: &str| {
        let pattern = dir.path().join(pattern).display().to_string();
        let config = serde_json::json!({
            "templates": [pattern], "route": {"receiver": "a"},
            "receivers": [{"name": "a", "slack_configs": [
                {"api_url": "http://x/", "text": r#"{{ template "a" . }}, {{ template "b" . }}"#},
            ]}],
        });
        let config: AlertmanagerConfig = serde_json::from_value(config).unwrap();
        Words::new(&config, "http://alerts.example.org")
    };
    for pattern in ["*/x.tmpl", "[ot]*/?.tmpl"] {
        let words = words(pattern).unwrap_or_else(|e| panic!("{pattern}: {e:?}"));
        let text = words.text(r#"{{ template "a" . }}, {{ template "b" . }}"#, &payload());
        assert_eq!(text, Ok("I am a, I am b".to_owned()), "{pattern}");
    }
    for (pattern, part) in [("none.tmpl", "none.tmpl cannot be read"), ("[x", "[x")] {
        let wrong = words(pattern).err().expect(pattern);
        assert_eq!(wrong[0].path, "templates[0]");
        assert!(wrong[0].message.contains(part), "{wrong:?}");
    }
}
