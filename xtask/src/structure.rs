//! What no lint knows: the arrows between crates, the first line of a file, where no clock is read, and examples that
//! nobody would run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::command::root;

/// Each crate's folder and the crates of ours that it may use (ARCHITECTURE.md, "Arrows").
const ARROWS: [(&str, &[&str]); 7] = [
    (".", &["registry", "collector", "series", "alerting", "catalog"]),
    ("registry", &["api"]),
    ("registry/api", &[]),
    ("registry/catalog", &["api"]),
    ("collector", &["catalog", "series"]),
    ("collector/series", &[]),
    ("alerting", &["catalog"]),
];

/// Folders of sources.
const SOURCES: [&str; 10] = [
    "src",
    "registry/src",
    "registry/api/src",
    "registry/catalog/src",
    "collector/src",
    "collector/series/src",
    "alerting/src",
    "xtask/src",
    "tests",
    "benches",
];

/// Pure parts: the same input gives the same output, so they read no clock and draw no lots.
const PURE: [&str; 1] = ["registry/src/mvcc"];
const IMPURE: [&str; 5] = ["SystemTime::now", "Instant::now", "Utc::now", "rand::", "std::fs"];

/// The folders of our crates.
pub(crate) fn crates() -> impl Iterator<Item = &'static str> {
    ARROWS.iter().map(|(folder, _)| *folder)
}

/// Judges all of it; the error lists every breach.
pub(crate) fn check() -> Result<(), String> {
    let mut breaches = Vec::new();
    for (folder, allowed) in ARROWS {
        let manifest = read(&root().join(folder).join("Cargo.toml"))?;
        breaches.extend(arrows(folder, &manifest, allowed));
    }
    for folder in SOURCES {
        let pure = PURE.iter().map(|pure| root().join(pure)).collect::<Vec<_>>();
        for path in sources(&root().join(folder))? {
            let text = read(&path)?;
            let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            if !text.starts_with("//!") {
                breaches.push(format!("{shown}: does not begin with //! and what it is for"));
            }
            breaches.extend(examples(&shown, &text));
            if pure.iter().any(|pure| path.starts_with(pure)) {
                breaches.extend(purity(&shown, &text));
            }
        }
    }
    if breaches.is_empty() { Ok(()) } else { Err(breaches.join("\n")) }
}

fn arrows(folder: &str, manifest: &str, allowed: &[&str]) -> Vec<String> {
    let dependencies = manifest.split("\n[").find(|part| part.starts_with("dependencies]"));
    let named = dependencies
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix("watchkeep-")?.split(['.', ' ', '=']).next());
    named
        .filter(|name| !allowed.contains(name))
        .map(|name| format!("{folder}/Cargo.toml: must not depend on watchkeep-{name}"))
        .collect()
}

fn purity(shown: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines
        .filter_map(|(at, line)| {
            let word = IMPURE.iter().find(|word| line.contains(*word))?;
            Some(format!("{shown}:{}: {word} in a pure part: pass it in", at + 1))
        })
        .collect()
}

/// Blocks in documentation that rustdoc would take for programs. `cargo xtask test` runs none: a minute for nothing.
fn examples(shown: &str, text: &str) -> Vec<String> {
    let mut open = false;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let words = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"));
        let Some(language) = words.and_then(|words| words.trim().strip_prefix("```")) else {
            continue;
        };
        open = !open;
        let is_program = matches!(language, "" | "rust" | "no_run" | "should_panic" | "ignore");
        if open && is_program {
            let at = at + 1;
            found.push(format!(
                "{shown}:{at}: doc tests are not run: write ```text, and a test elsewhere"
            ));
        }
    }
    found
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_arrow_is_found() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\nwatchkeep-api.workspace = true\n\
                        watchkeep-series = { path = \"x\" }\n\n[dev-dependencies]\nwatchkeep-catalog.workspace = true\n";
        assert_eq!(
            arrows("alerting", manifest, &["api"]),
            ["alerting/Cargo.toml: must not depend on watchkeep-series"]
        );
        assert!(arrows("alerting", manifest, &["api", "series"]).is_empty());
    }

    #[test]
    fn a_program_in_documentation_is_found() {
        let text =
            "//! x\n//! ```text\n//! a\n//! ```\n/// ```\n/// a();\n/// ```\nlet a = \"```\";\n";
        let [breach] = &examples("a.rs", text)[..] else { panic!("one") };
        assert!(breach.starts_with("a.rs:5: doc tests are not run"), "{breach}");
    }

    #[test]
    fn a_clock_in_a_pure_part_is_found() {
        let text = "//! x\n// Instant::now is not for here\nlet now = Instant::now();\n\
                    #[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(purity("a.rs", text), ["a.rs:3: Instant::now in a pure part: pass it in"]);
    }
}
