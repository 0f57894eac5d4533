//! The Grafana dashboards in the folder `dashboards/`, embedded. They are made by `cargo xtask dashboards`.

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "dashboards/"]
struct Files;

/// Their file names, sorted.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> =
        Files::iter().map(|name| name.into_owned()).filter(|name| is_dashboard(name)).collect();
    names.sort();
    names
}

/// The JSON of one; none: there is none of that name.
pub(crate) fn file(name: &str) -> Option<Vec<u8>> {
    Files::get(name).filter(|_| is_dashboard(name)).map(|file| file.data.into_owned())
}

fn is_dashboard(name: &str) -> bool {
    name.ends_with(".json")
}
