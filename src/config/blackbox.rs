//! `collector.blackbox_config`: blackbox_exporter's own file, judged like ours.

use std::path::Path;

use watchkeep_collector::blackbox::Modules;

use super::{foreign, problem::Problem};

/// Reads and judges the file.
///
/// # Errors
/// That it cannot be read, or everything that is wrong in it.
pub(super) fn load(path: &Path) -> Result<Modules, Vec<Problem>> {
    let (name, text) = foreign::text(path, "a file of blackbox_exporter's modules")?;
    read(&name, &text)
}

/// Judges `text`; `file` is its name in messages.
pub(super) fn read(file: &str, text: &str) -> Result<Modules, Vec<Problem>> {
    foreign::judged(file, text, |modules: &mut Modules| {
        let wrong = modules.validate().err().unwrap_or_default().into_iter();
        wrong.map(|i| (i.path, i.message)).collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use watchkeep_collector::blackbox::ProberKind;

    use super::*;

    /// Every option of version 0.23 and of later ones, in every section.
    const EVERYTHING: &str = include_str!("../../tests/data/blackbox/everything.yml");

    #[test]
    fn every_option_is_known() {
        let modules = read("blackbox.yml", EVERYTHING).expect("a good file").modules;
        let http = modules["everything_http"].http.as_ref().expect("a section");
        assert_eq!(http.body_size_limit.0, 10 << 20);
        assert_eq!(http.valid_http_versions, ["HTTP/1.1", "HTTP/2.0"]);
        assert!(http.fail_if_not_ssl, "`yes` is true in this file");
        assert!(!http.follows_redirects(), "the older name of the option wins");
        assert_eq!(modules["merged"].http.as_ref().map(|h| h.method.as_str()), Some("HEAD"));
        assert_eq!(modules["empty_section"].prober, Some(ProberKind::Http));
        assert_eq!(modules["empty_section"].http, None);
        let again = serde_json::to_string(&modules).expect("JSON");
        assert!(!again.contains("tiger"), "a secret is shown: {again}");
    }

    #[test]
    fn mistakes_are_named_by_line() {
        for (text, expected) in [
            (
                "modules:\n  a:\n    prober: htpp\n",
                vec![
                    "b.yml:3: modules.a.prober: unknown variant `htpp`; known: http, tcp, dns, icmp, grpc",
                ],
            ),
            (
                "modules:\n  a:\n    prober: http\n    http:\n      valid_codes: [200]\n",
                vec![
                    "b.yml:5: modules.a.http: unknown field `valid_codes`; known: valid_status_codes,",
                ],
            ),
            (
                "modules:\n  a:\n    prober: http\n    timeout: 5\n    http:\n      fail_if_ssl: perhaps\n",
                vec![
                    "b.yml:4: modules.a.timeout: \"5\" is not a duration: write a number and its unit, like 5s or 500ms",
                    "b.yml:6: modules.a.http.fail_if_ssl: \"perhaps\" is not true or false",
                ],
            ),
            (
                "modules:\n  a:\n    prober: tcp\n    tcp:\n      query_response:\n        - expect: '('\n  b:\n    prober: dns\n",
                vec![
                    "b.yml:6: modules.a.tcp.query_response[0].expect: \"(\" is not a regular expression:",
                    "b.yml:7: modules.b.dns: is missing: say in query_name which name is asked for",
                ],
            ),
            (
                "modules:\n  a:\n    prober: http\n    http:\n      bearer_token: tiger\n      basic_auth: {username: u}\n",
                vec![
                    "b.yml:5: modules.a.http.bearer_token: stands beside basic_auth: give one of them",
                ],
            ),
            (
                "modules: {a: {}}",
                vec!["b.yml:1: modules.a.prober: is missing: give http, tcp, dns, icmp or grpc"],
            ),
            ("modules: [", vec!["b.yml:1: this is not valid YAML:"]),
        ] {
            let problems = read("b.yml", text).expect_err(text);
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(lines.len(), expected.len(), "{lines:#?}");
            for (line, expected) in lines.iter().zip(expected) {
                assert!(line.starts_with(expected), "{line}\ninstead of\n{expected}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*|[-a-z0-9:{}\\[\\],&*<|>'\"# \n]{0,120}") {
            let _ = read("b.yml", &text);
        }

        /// Pieces of a real file in any order and number come closer to what the reader looks at.
        #[test]
        fn pieces_of_a_file_do_not_make_it_panic(lines in proptest::collection::vec(0..200_usize, 0..40)) {
            let all: Vec<_> = EVERYTHING.lines().collect();
            let text: Vec<_> = lines.iter().map(|at| all[at % all.len()]).collect();
            let _ = read("b.yml", &text.join("\n"));
        }
    }
}
