//! Every action, with what the same rule does in Prometheus.

use super::*;

fn rule(yaml_as_json: &str) -> RelabelConfig {
    serde_json::from_str(yaml_as_json).expect(yaml_as_json)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied())
}

#[test]
fn actions() {
    let all = [("a", "foo"), ("b", "bar"), ("c", "baz")];
    let with = |more: &[(&'static str, &'static str)]| Some(labels(&[&all[..], more].concat()));
    for (rules, after) in [
        (
            &[
                r#"{"source_labels":["a"],"regex":"f(.*)","target_label":"d","separator":";","replacement":"ch${1}-ch${1}"}"#,
            ][..],
            with(&[("d", "choo-choo")]),
        ),
        (
            &[
                r#"{"source_labels":["a","b"],"regex":"f(.*);(.*)r","target_label":"a","replacement":"b${1}${2}m"}"#,
                r#"{"source_labels":["c","a"],"regex":"(b).*b(.*)ba(.*)","target_label":"d","replacement":"$1$2$2$3"}"#,
            ],
            with(&[("a", "boobam"), ("d", "boooom")]),
        ),
        (&[r#"{"source_labels":["a"],"regex":".*o.*","action":"drop"}"#], None),
        (&[r#"{"source_labels":["a"],"regex":"f|o","action":"drop"}"#], with(&[])),
        (&[r#"{"source_labels":["a"],"regex":"no","action":"keep"}"#], None),
        (&[r#"{"source_labels":["a"],"regex":"fo+","action":"Keep"}"#], with(&[])),
        (&[r#"{"source_labels":["a"],"target_label":"b","action":"keepequal"}"#], None),
        (&[r#"{"source_labels":["a"],"target_label":"b","action":"dropequal"}"#], with(&[])),
        (&[r#"{"source_labels":["none"],"target_label":"none","action":"dropequal"}"#], None),
        // No match: nothing changes. An empty replacement removes.
        (
            &[r#"{"source_labels":["a"],"regex":"x","target_label":"b","replacement":"n"}"#],
            with(&[]),
        ),
        (&[r#"{"regex":"","target_label":"b","replacement":"n"}"#], with(&[("b", "n")])),
        (&[r#"{"target_label":"b","replacement":""}"#], with(&[("b", "")])),
        (&[r#"{"source_labels":["none"],"target_label":"b"}"#], with(&[("b", "")])),
        // A target that the groups make; one that is no label's name is left.
        (
            &[
                r#"{"source_labels":["a"],"regex":"(f)(oo)","target_label":"${1}_$2","replacement":"$2"}"#,
            ],
            with(&[("f_oo", "oo")]),
        ),
        (
            &[r#"{"source_labels":["a"],"regex":"(.*)","target_label":"${3}","replacement":"x"}"#],
            with(&[]),
        ),
        (
            &[r#"{"source_labels":["c"],"target_label":"d","action":"hashmod","modulus":1000}"#],
            with(&[("d", "976")]),
        ),
        (
            &[r#"{"regex":"(b.*)","replacement":"bar_${1}","action":"labelmap"}"#],
            with(&[("bar_b", "bar")]),
        ),
        (&[r#"{"regex":"(a|b)","action":"labeldrop"}"#], Some(labels(&[("c", "baz")]))),
        (&[r#"{"regex":"a","action":"labelkeep"}"#], Some(labels(&[("a", "foo")]))),
        (
            &[
                r#"{"source_labels":["a","b"],"separator":"Ä","target_label":"d","action":"uppercase"}"#,
                r#"{"source_labels":["d"],"target_label":"e","action":"lowercase"}"#,
            ],
            with(&[("d", "FOOÄBAR"), ("e", "fooäbar")]),
        ),
    ] {
        let ready: Vec<_> = rules.iter().map(|text| rule(text)).collect();
        let ready = Relabeling::new(&ready).expect("valid");
        assert_eq!(ready.apply(&labels(&all)), after, "{rules:?}");
    }
    // A value with a line break is matched whole.
    let keep = Relabeling::new(&[rule(r#"{"source_labels":["x"],"regex":"a.*","action":"keep"}"#)]);
    assert!(keep.expect("valid").apply(&labels(&[("x", "a\nb")])).is_some());
}

#[test]
fn what_is_refused() {
    for (text, field, words) in [
        (r#"{"regex":"(","target_label":"x"}"#, "regex", "unclosed group"),
        (r#"{"action":"hashmod","target_label":"x"}"#, "modulus", "give 1 or more"),
        (r#"{"source_labels":["a"]}"#, "target_label", "action replace needs one"),
        (r#"{"target_label":"a-b"}"#, "target_label", "not a label's name"),
        (r#"{"target_label":"${1"}"#, "target_label", "not a label's name"),
        (r#"{"target_label":"0x"}"#, "target_label", "not a label's name"),
        (r#"{"action":"lowercase","target_label":"$1"}"#, "target_label", "not a label's name"),
        (
            r#"{"action":"uppercase","target_label":"x","replacement":"y"}"#,
            "replacement",
            "means nothing",
        ),
        (r#"{"action":"labelmap","replacement":"-"}"#, "replacement", "not a label's name"),
        (
            r#"{"action":"labeldrop","regex":"x","source_labels":["a"]}"#,
            "source_labels",
            "means nothing",
        ),
        (
            r#"{"action":"labelkeep","regex":"x","target_label":"a"}"#,
            "target_label",
            "means nothing",
        ),
        (
            r#"{"action":"keepequal","source_labels":["a"],"target_label":"x","regex":"y"}"#,
            "regex",
            "means nothing",
        ),
        (r#"{"source_labels":["a b"],"target_label":"x"}"#, "source_labels", "not a label's name"),
    ] {
        let (at, wrong, message) = Relabeling::new(&[rule(text)]).expect_err(text);
        assert_eq!((at, wrong), (0, field), "{text}: {message}");
        assert!(message.contains(words), "{text}: {message}");
    }
    let unknown = serde_json::from_str::<RelabelConfig>(r#"{"action":"rename"}"#);
    assert!(unknown.expect_err("unknown").to_string().contains("known: replace, keep, drop"));
    for good in ["x", "${1}", "$1_$2", "a${name}b", "_x9", "$word"] {
        let config = RelabelConfig { target_label: good.to_owned(), ..RelabelConfig::default() };
        assert!(Relabeling::new(&[config]).is_ok(), "{good}");
    }
}
