//! Pages that Prometheus takes and pages that it refuses, and whatever is written is read again.

use proptest::prelude::*;

use super::*;

/// One string for a page: samples as the text format would write them, or the error.
fn read(page: &[u8], format: Format) -> String {
    let mut lines = Vec::new();
    for line in Page::new(page, format) {
        match line {
            Ok(line) => lines.push(plain(&line)),
            Err(error) => return error.to_string(),
        }
    }
    lines.join("; ")
}

fn plain(line: &Line<'_>) -> String {
    let labels: Vec<_> = line.labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
    let time = line.timestamp_ms.map(|ms| format!(" @{ms}")).unwrap_or_default();
    format!("{}{{{}}} {}{time}", line.name, labels.join(","), line.value)
}

#[test]
fn text_that_is_taken() {
    for (page, expected) in [
        ("", ""),
        ("a 1", "a{} 1"),
        ("a 1\n\n\n  \t b\t2 \n", "a{} 1; b{} 2"),
        ("a 1 1395066363000\n", "a{} 1 @1395066363000"),
        ("a 1 -5\n", "a{} 1 @-5"),
        ("a{} 1", "a{} 1"),
        ("a {b=\"c\"} 1", "a{b=\"c\"} 1"),
        ("a{b=\"c\",} 1", "a{b=\"c\"} 1"),
        ("a { b = \"c\" , d = \"\" } +Inf 7", "a{b=\"c\",d=\"\"} inf @7"),
        (r#"a{b="\\ \" \n \x"} 1"#, r#"a{b="\\ \" \n \\x"} 1"#),
        ("a{b=\"x\ny\"} 1\nc 2", "a{b=\"x\\ny\"} 1; c{} 2"),
        ("a{b=\"\0\"} 1", "a{b=\"\\0\"} 1"),
        ("a:b_c9{_x=\"ä\"}NaN", "a:b_c9{_x=\"ä\"} NaN"),
        ("# HELP a\n# HELP a \n# HELP a x \\n y\n# TYPE a summary\na 1", "a{} 1"),
        ("#\n# just words \u{1}\n#HELP\n# HELPER 3\n#\tTYPE a untyped\na 1", "a{} 1"),
        ("{\"my.metric\",\"a b\"=\"c\"} 1", "my.metric{a b=\"c\"} 1"),
        ("# TYPE \"my.metric\" counter\n{a=\"b\",\"my.metric\"} 1", "my.metric{a=\"b\"} 1"),
    ] {
        assert_eq!(read(page.as_bytes(), Format::Text), expected, "{page:?}");
    }
}

#[test]
fn text_that_is_refused() {
    for (page, expected) in [
        ("a", "line 1: expected a value after \"a\", the page ends"),
        ("ok 1\na\nb 2", "line 2: expected a value after \"a\", the line ends"),
        ("a{b='c'} 1", "line 1: expected the label's value in double quotes, found \"'c'} 1\""),
        ("a{b=\n", "line 1: expected the label's value in double quotes, the line ends"),
        ("a{b=\"", "line 1: the label's value has no closing quote"),
        ("a{=\"\"} 0", "line 1: expected a label's name or }, found \"=\\\"\\\"} 0\""),
        ("a{\"\"=\"x\"} 0", "line 1: a label's name is empty"),
        ("a{b} 0", "line 1: expected = after label \"b\", found \"} 0\""),
        ("a{b=\"1\" c=\"2\"} 0", "line 1: expected a comma or }, found \"c=\\\"2\\\"} 0\""),
        ("a{,} 0", "line 1: expected a label's name or }, found \",} 0\""),
        ("a{b=\"1\",b=\"2\"} 0", "line 1: label \"b\" stands there twice"),
        ("a true", "line 1: expected a value after \"a\", found \"true\""),
        ("a 1_2", "line 1: expected a value after \"a\", found \"1_2\""),
        ("a 0x1p-3", "line 1: expected a value after \"a\", found \"0x1p-3\""),
        ("a 0 1_2", "line 1: expected a time in milliseconds, found \"1_2\""),
        ("a 0 1.5", "line 1: expected a time in milliseconds, found \"1.5\""),
        ("a 0 1 2", "line 1: expected the end of the line, found \"2\""),
        ("a 1\r\n", "line 1: expected a value after \"a\", found \"1\\r\""),
        ("{a=\"ok\"} 1", "line 1: a series has no name"),
        ("a{\"b\"} 1", "line 1: \"b\" is a second name of the metric"),
        ("9a 1", "line 1: expected a metric's name, found \"9a 1\""),
        ("a\0{b=\"\"} 1", "line 1: expected a value after \"a\", found \"\\0{b=\\\"\\\"} 1\""),
        (
            "# TYPE a metric\na 1",
            "line 1: expected counter, gauge, histogram, summary or untyped, found \"metric\"",
        ),
        ("# HELP 3\n", "line 1: expected a metric's name after HELP, found \"3\""),
    ] {
        assert_eq!(read(page.as_bytes(), Format::Text), expected, "{page:?}");
    }
    assert_eq!(read(b"a{b=\"\xff\"} 1", Format::Text), "line 1: the label's value is not UTF-8");
    assert_eq!(read(b"# HELP a \xff\n", Format::Text), "line 1: the text of HELP is not UTF-8");
    // Anything may stand in a comment.
    assert_eq!(read(b"# \xff\na 1", Format::Text), "a{} 1");
}

#[test]
fn openmetrics_that_is_taken() {
    for (page, expected) in [
        ("# EOF", ""),
        ("# EOF\n", ""),
        ("a 1\n# EOF\n", "a{} 1"),
        ("a 1 1395066363.5\n# EOF\n", "a{} 1 @1395066363500"),
        (
            "# TYPE f histogram\n# UNIT f \n# HELP f with a \\n\nf_bucket{le=\"+Inf\"} 17 # {id=\"a\"} 9.8\n# EOF",
            "f_bucket{le=\"+Inf\"} 17",
        ),
        ("a 1 5 # {} 0.5 1520879607.789\n# EOF\n", "a{} 1 @5000"),
        (
            "# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds NaN\n# EOF",
            "a_seconds{} NaN",
        ),
        ("{\"x.y\",a=\"b\"} 1\n# EOF\n", "x.y{a=\"b\"} 1"),
    ] {
        assert_eq!(read(page.as_bytes(), Format::OpenMetrics), expected, "{page:?}");
    }
}

#[test]
fn openmetrics_that_is_refused() {
    let long = format!("a 1 # {{x=\"{}\"}} 1\n# EOF", "é".repeat(128));
    for (page, expected) in [
        ("", "line 1: the page does not end with # EOF: it may have been cut off"),
        ("a 1\n", "line 2: the page does not end with # EOF: it may have been cut off"),
        ("a 1", "line 1: expected the end of the line, the page ends"),
        ("\n\n# EOF", "line 1: expected a metric's name, the line ends"),
        ("# EOF\na 1\n", "line 2: expected nothing after # EOF, found \"a 1\""),
        ("#EOF", "line 1: expected # HELP, # TYPE, # UNIT or # EOF, found \"#EOF\""),
        ("# words\n# EOF", "line 1: expected HELP, TYPE, UNIT or EOF after #, found \"words\""),
        ("a  1\n# EOF", "line 1: expected a value after \"a\", found \" 1\""),
        ("a 1 \n# EOF", "line 1: expected a time in seconds, the line ends"),
        ("a 1 NaN\n# EOF", "line 1: expected a time in seconds, found \"NaN\""),
        (
            "a 1 2 3\n# EOF",
            "line 1: expected an exemplar, # {…} value, or the end of the line, found \"3\"",
        ),
        (
            "a 1 # {a=\"b\"}\n# EOF",
            "line 1: expected a blank and the exemplar's value, the line ends",
        ),
        ("a 1 # {\"n\"} 1\n# EOF", "line 1: an exemplar has labels only, no name"),
        (
            "# TYPE a\n# EOF",
            "line 1: expected a metric's name and a text after TYPE, the line ends",
        ),
        ("# UNIT a metres\n# EOF", "line 1: unit \"metres\" is not how \"a\" ends"),
        ("a{b=\"x\ny\"} 1\n# EOF", "line 1: the label's value has no closing quote"),
        (&long, "line 1: the exemplar's labels have 129 characters, at most 128 are allowed"),
    ] {
        assert_eq!(read(page.as_bytes(), Format::OpenMetrics), expected, "{page:?}");
    }
    let refused = read(b"# TYPE a count\n# EOF", Format::OpenMetrics);
    assert!(refused.starts_with("line 1: expected counter, gauge, "), "{refused}");
}

#[test]
fn the_content_type_says_the_format() {
    for (content_type, format) in [
        (None, Format::Text),
        (Some("text/plain; version=0.0.4"), Format::Text),
        (Some("application/openmetrics-text; version=1.0.0; charset=utf-8"), Format::OpenMetrics),
        (Some("Application/OpenMetrics-Text"), Format::OpenMetrics),
        (Some("nonsense"), Format::Text),
    ] {
        assert_eq!(Format::of(content_type), format, "{content_type:?}");
    }
}

/// The page of one sample, in one format or the other.
fn written(line: &Line<'_>, format: Format) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels = line.labels.iter().map(|(n, v)| format!("\"{}\"=\"{}\"", escape(n), escape(v)));
    let all: Vec<_> =
        std::iter::once(format!("\"{}\"", escape(&line.name))).chain(labels).collect();
    let time = match (line.timestamp_ms, format) {
        (None, _) => String::new(),
        (Some(ms), Format::Text) => format!(" {ms}"),
        (Some(ms), Format::OpenMetrics) => format!(" {}", ms as f64 / 1e3),
    };
    let end = if format == Format::OpenMetrics { "# EOF\n" } else { "" };
    format!("{{{}}} {}{time}\n{end}", all.join(","), line.value)
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        name in ".{1,8}",
        labels in prop::collection::btree_map(".{1,5}", "(?s).{0,8}", 0..4),
        value in prop::num::f64::NORMAL | prop::num::f64::ZERO,
        timestamp_ms in prop::option::of(0..4_000_000_000_000_i64),
        openmetrics: bool,
    ) {
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        let labels = labels.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        let line = Line { raw: b"", name: name.into(), labels, value, timestamp_ms };
        let page = written(&line, format);
        let back: Vec<_> = Page::new(page.as_bytes(), format).collect();
        prop_assert_eq!(back.len(), 1, "{}", page);
        let back = back[0].as_ref().map_err(ToString::to_string);
        // Milliseconds through a fraction of seconds may lose one.
        let close = |a: Option<i64>, b: Option<i64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= i64::from(openmetrics),
            (a, b) => a == b,
        };
        let same = back.is_ok_and(|b| {
            (&b.name, &b.labels, b.value) == (&line.name, &line.labels, line.value)
                && close(b.timestamp_ms, line.timestamp_ms)
        });
        prop_assert!(same, "{} is not {:?}", page, line);
    }

    #[test]
    fn what_looks_like_a_page_is_an_error_at_worst(
        page in "([ab{}=\"\\\\,# \t\n\r019.eE+-]|# EOF|# TYPE |NaN|\u{e9}){0,40}"
    ) {
        crate::fuzzing::exposition(page.as_bytes());
    }

    #[test]
    fn garbage_is_an_error_at_worst(page: Vec<u8>) {
        crate::fuzzing::exposition(&page);
    }
}
