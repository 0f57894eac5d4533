//! Templates as rule files have them: what they render to, and what is said of wrong ones.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn functions() -> Functions {
    let site = Site { external_url: "http://watch.example.org/base/".to_owned() };
    let functions = prometheus(&site, |expr| match expr {
        "none" => Ok(Vec::new()),
        "two" => Ok(vec![
            TemplateSample { labels: labels(&[("instance", "b:1")]), value: 11.0 },
            TemplateSample { labels: labels(&[("instance", "a:1")]), value: 21.0 },
        ]),
        _ => Err("no such thing".to_owned()),
    });
    with_now(functions, 1_767_603_600.5)
}

fn render(text: &str) -> Result<String, String> {
    let given = labels(&[("instance", "db-1.example.org:9100"), ("job", "node")]);
    let data = object("data", [("Labels", string_map(&given)), ("Value", Value::Float(1234.5))]);
    let variables = [
        ("$labels", string_map(&given)),
        ("$value", Value::Float(1234.5)),
        ("$inf", Value::Float(f64::INFINITY)),
    ];
    let names: Vec<&str> = variables.iter().map(|v| v.0).collect();
    let template = Template::parse("t", text, &functions(), &names).map_err(|e| e.to_string())?;
    template.render(&data, &variables, &functions()).map_err(|e| e.to_string())
}

#[test]
fn what_rule_files_have() {
    for (text, expected) in [
        ("plain", "plain"),
        ("{{ now }} {{ (now | toTime).Format \"15:04:05.000\" }}", "1.7676036005e+09 09:00:00.500"),
        (
            "{{ toDuration 4530.5 }} {{ (toDuration 90).Minutes }} {{ toDuration 0.0015 }}",
            "1h15m30.5s 1.5 1.5ms",
        ),
        ("{{ humanizeTimestamp now }}", "2026-01-05 09:00:00.5 +0000 UTC"),
        (
            "{{ $labels.instance }} of {{$labels.job}}: {{ $value }}",
            "db-1.example.org:9100 of node: 1234.5",
        ),
        ("{{ .Labels.job }} {{ .Value }} [{{ .Labels.missing }}]", "node 1234.5 []"),
        ("{{ $value | humanize }} {{ humanize1024 $value }}", "1.234k 1.206ki"),
        ("{{ printf \"%.2f\" $value }} {{ $value | printf \"%08.1f\" }}", "1234.50 001234.5"),
        ("{{ with $x := query \"two\" }}{{ . | first | value }}{{ end }}", "11"),
        (
            "{{ range query \"two\" | sortByLabel \"instance\" }}{{ .Labels.instance }}={{ .Value }} {{ end }}",
            "a:1=21 b:1=11 ",
        ),
        (
            "{{ range $i, $s := query \"two\" }}{{ $i }}:{{ label \"instance\" $s }} {{ end }}",
            "0:b:1 1:a:1 ",
        ),
        ("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing"),
        ("{{ with query \"none\" }}x{{ else }}nothing{{ end }}", "nothing"),
        (
            "{{ if and (gt $value 1000.0) (eq $labels.job \"node\") }}high{{ else }}low{{ end }}",
            "high",
        ),
        ("{{ if not (or (lt $value 5.0) false) }}a{{ else if true }}b{{ end }}", "a"),
        ("a {{- /* gone */ -}} b {{ \"c\" -}}  d", "ab cd"),
        (
            "{{ define \"x\" }}<{{ .arg0 }} {{ .arg1 }}>{{ end }}{{ template \"x\" (args $value \"y\") }}",
            "<1234.5 y>",
        ),
        ("{{ $labels.instance | stripPort | stripDomain | toUpper }}", "DB-1"),
        ("{{ reReplaceAll \"(.*):(.*)\" \"${2}-$1\" $labels.instance }}", "9100-db-1.example.org"),
        ("{{ match \"^db\" $labels.instance }} {{ title \"hello world\" }}", "true Hello World"),
        (
            "{{ humanizeDuration 3661 }} {{ humanizePercentage 0.1234 }} {{ humanizeTimestamp 1435065584.128 }}",
            "1h 1m 1s 12.34% 2015-06-23 13:19:44.128 +0000 UTC",
        ),
        (
            "{{ (toTime 1435065584.128).Format \"2006-01-02\" }} {{ (0.0 | toTime).Unix }}",
            "2015-06-23 0",
        ),
        ("{{ parseDuration \"1h30m\" }} {{ parseDuration \"5ms\" }}", "5400 0.005"),
        (
            "{{ pathPrefix }} {{ externalURL }} {{ graphLink \"up == 1\" }}",
            "/base http://watch.example.org/base/ /graph?g0.expr=up+%3D%3D+1&g0.tab=0",
        ),
        (
            "{{ tableLink \"a{b=\\\"c\\\"}\" }} {{ urlQueryEscape \"a&b c\" }}",
            "/graph?g0.expr=a%7Bb%3D%22c%22%7D&g0.tab=1 a%26b+c",
        ),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        (
            "{{ len $labels }} {{ index $labels \"job\" }} {{ $labels }}",
            "2 node map[instance:db-1.example.org:9100 job:node]",
        ),
        ("{{ safeHtml \"<b>\" }} {{ 1e21 }} {{ 100000000.0 }}", "<b> 1e+21 1e+08"),
        (
            "{{ (query \"two\" | first).Value }} {{ query \"two\" | first | label \"instance\" }}",
            "11 b:1",
        ),
        (
            "{{ $inf }} {{ 1000000.0 }} {{ 123456789.5 }} {{ 0.00001 }}",
            "+Inf 1e+06 1.234567895e+08 1e-05",
        ),
        (
            "{{ printf \"%v %g %s\" 1e6 1e6 \"x\" }} {{ 1e7 | printf \"%d%% %v\" 1 }}",
            "1e+06 1e+06 x 1% 1e+07",
        ),
        (
            "{{ print 1e7 2 \"a\" \"b\" 3.0 }} {{ query \"two\" | first }}",
            "1e+07 2ab3 {map[instance:b:1] 11}",
        ),
        ("{{ toTime 5.0 }} {{ title \"a bC-d\" }}", "1970-01-01 00:00:05 +0000 UTC A BC-D"),
        ("{{ block \"y\" . }}{{ .Labels.job }}{{ end }}", "node"),
    ] {
        assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn errors_name_template_and_line() {
    for (text, expected) in [
        ("a\n{{ $labels.x", "template t:2: unclosed action"),
        ("{{ end }}", "template t:1: unexpected {{end}} or {{else}}: nothing is open here"),
        ("\n\n{{ nope 1 }}", "template t:3: function \"nope\" is not defined"),
        ("x\n{{ $nope }}", "template t:2: variable $nope is not defined"),
        (
            "{{ if true }}{{ $a := 1 }}{{ end }}\n{{ $a }}",
            "template t:2: variable $a is not defined",
        ),
        ("\n{{ .Nope }}", "template t:2: data has no field or method \"Nope\""),
        (
            "\n{{ if true }}\n{{ query \"bad\" }}{{ end }}",
            "template t:3: query \"bad\": no such thing",
        ),
        (
            "{{ query \"none\" | first }}",
            "template t:1: first: the list has no elements; ask with `with` before",
        ),
        ("{{ template \"gone\" }}", "template t:1: template \"gone\" is not defined"),
        ("{{ $labels.job.x }}", "template t:1: string has no field or method \"x\""),
        ("{{ humanize \"x\" }}", "template t:1: humanize: \"x\" is not a number"),
        ("{{ title }}", "template t:1: title: 0 arguments given, 1 expected"),
        ("{{ match \"(\" \"x\" }}", "template t:1: regular expression \"(\""),
        (
            "{{ range 1000000 }}{{ end }}",
            "template t:1: more than 100000 turns of range; shorten it",
        ),
        (
            "{{ range 20000 }}{{ printf \"%0100d\" 1 }}{{ end }}",
            "template t:1: the text is longer than 1048576 bytes; shorten it",
        ),
        (
            "{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}",
            "template t:1: recursion limit exceeded",
        ),
    ] {
        let error = render(text).expect_err(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn html_is_escaped_where_it_stands() {
    let functions = functions();
    let template = Template::parse(
        "mail",
        "<a href=\"{{ $u }}\">{{ .Text }}</a>{{ safeHtml \"<br>\" }}",
        &functions,
        &["$u"],
    )
    .unwrap();
    let data = object("data", [("Text", Value::String("a < b".into()))]);
    let url = [("$u", Value::String("javascript:x".into()))];
    let html = template.render_html(&data, &url, &functions).unwrap();
    assert_eq!(html, "<a href=\"#ZgotmplZ\">a &lt; b</a><br>");
}

#[test]
fn a_library_knows_what_was_defined_before_and_where() {
    let functions = functions();
    let mut library = Library::default();
    library.parse("a.tmpl", "{{ define \"a\" }}\n{{ .Nope }}{{ end }}", &functions, &[]).unwrap();
    library.parse("b.tmpl", "{{ define \"b\" }}b{{ . }}{{ end }}", &functions, &[]).unwrap();
    let text = library
        .parse("field", "{{ template \"b\" 1 }}{{ template \"a\" . }}", &functions, &[])
        .unwrap();
    let error = text.render(&object("data", []), &[], &functions).unwrap_err();
    assert_eq!(error.to_string(), "template a.tmpl:2: data has no field or method \"Nope\"");
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\PC|\\{\\{|\\}\\}|if |range |with |end|define |\\$labels|\\.Value|query |\"|\\||\\(|\\)|-|:=|\\n| ){0,40}") {
        let _ = render(&text);
    }
}
