//! Random trees and alerts: `amtool config routes test` names the same receivers as we do.

use std::process::Command;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::*;

const TREES: usize = 25;
const ALERTS_PER_TREE: usize = 6;
const NAMES: [&str; 3] = ["a", "b", "c"];
const VALUES: [&str; 4] = ["", "x", "y", "x y"];

fn matcher(rng: &mut StdRng) -> String {
    let name = NAMES.choose(rng).unwrap();
    let (one, two) = (VALUES.choose(rng).unwrap(), VALUES.choose(rng).unwrap());
    match rng.random_range(0..4) {
        0 => format!("{name}=\"{one}\""),
        1 => format!("{name}!=\"{one}\""),
        2 => format!("{name}=~\"{one}|{two}\""),
        _ => format!("{name} !~ \"{one}.*\""),
    }
}

fn routes(rng: &mut StdRng, depth: usize, receivers: &mut usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    for _ in 0..rng.random_range(1..4) {
        out.push_str(&format!("{pad}- receiver: r{receivers}\n"));
        *receivers += 1;
        match rng.random_range(0..3) {
            0 => {
                let name = NAMES.choose(rng).unwrap();
                out.push_str(&format!("{pad}  match_re: {{{name}: 'x|y'}}\n"));
            }
            1 => {
                let name = NAMES.choose(rng).unwrap();
                out.push_str(&format!("{pad}  match: {{{name}: x}}\n"));
            }
            _ => {
                let both = [matcher(rng), matcher(rng)].map(|m| format!("'{m}'")).join(", ");
                out.push_str(&format!("{pad}  matchers: [{both}]\n"));
            }
        }
        if rng.random_bool(0.4) {
            out.push_str(&format!("{pad}  continue: true\n"));
        }
        if depth < 4 && rng.random_bool(0.5) {
            out.push_str(&format!("{pad}  routes:\n"));
            routes(rng, depth + 1, receivers, out);
        }
    }
}

#[test]
fn the_same_receivers_as_amtool() {
    if Command::new("amtool").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "amtool is missing: `cargo xtask peers` installs it"
        );
        return;
    }
    let (mut rng, dir) = (StdRng::seed_from_u64(7), tempfile::tempdir().unwrap());
    let file = dir.path().join("am.yml");
    for _ in 0..TREES {
        let (mut count, mut text) = (1, String::from("receiver: r0\nroutes:\n"));
        routes(&mut rng, 0, &mut count, &mut text);
        let tree = Tree::new(&serde_saphyr::from_str(&text).expect(&text)).expect(&text);
        let receivers: Vec<String> = (0..count).map(|at| format!("{{name: r{at}}}")).collect();
        let indented = text.replace('\n', "\n  ");
        let whole = format!("route:\n  {indented}\nreceivers: [{}]\n", receivers.join(", "));
        std::fs::write(&file, &whole).unwrap();
        for _ in 0..ALERTS_PER_TREE {
            let labels: LabelSet = NAMES
                .iter()
                .map(|name| ((*name).to_owned(), (*VALUES.choose(&mut rng).unwrap()).to_owned()))
                .filter(|(_, value)| !value.is_empty())
                .collect();
            let ours: Vec<&str> = tree
                .matching(&labels)
                .iter()
                .map(|at| tree.routes[*at].receiver.as_str())
                .collect();
            let mut amtool = Command::new("amtool");
            amtool
                .args(["config", "routes", "test"])
                .arg(format!("--config.file={}", file.display()));
            amtool.args(labels.iter().map(|(name, value)| format!("{name}={value:?}")));
            let output = amtool.output().unwrap();
            let theirs = String::from_utf8(output.stdout).unwrap();
            assert_eq!(theirs.trim(), ours.join(","), "{labels:?}\n{whole}");
        }
    }
}
