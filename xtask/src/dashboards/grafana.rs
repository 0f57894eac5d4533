//! A board as Grafana's classic dashboard: the frame around it, its variables, links and annotations, and where panels stand.

use super::{
    board::{Board, Services},
    json::{Json, object, texts},
    panel,
    query::scoped,
};

/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;
/// Where a node is when nobody says otherwise.
const NODE: &str = "http://127.0.0.1:8480";

/// The data source that the person chose.
pub(super) fn datasource() -> Json {
    object([("type", "prometheus".into()), ("uid", "${datasource}".into())])
}

/// The whole document.
pub(super) fn document(board: &Board) -> String {
    object([
        ("__inputs", Vec::new().into()),
        ("__requires", requires(board)),
        ("id", Json::Null),
        ("uid", format!("watchkeep-{}", board.name).into()),
        ("title", format!("Watchkeep / {}", board.title).into()),
        ("description", board.description.into()),
        ("tags", texts(&["watchkeep"])),
        ("schemaVersion", 39.into()),
        ("version", 1.into()),
        ("editable", false.into()),
        ("graphTooltip", 1.into()),
        ("timezone", "utc".into()),
        ("refresh", "10s".into()),
        ("time", object([("from", "now-30m".into()), ("to", "now".into())])),
        ("annotations", object([("list", annotations())])),
        ("templating", object([("list", variables(board))])),
        ("links", links()),
        ("panels", panels(board)),
    ])
    .document()
}

fn requires(board: &Board) -> Json {
    let needs = |kind: &str, id: &str, version: &str| {
        object([
            ("type", kind.into()),
            ("id", id.into()),
            ("name", id.into()),
            ("version", version.into()),
        ])
    };
    let all = board.rows.iter().flat_map(|(_, panels)| panels);
    let mut kinds: Vec<&str> = all.map(|one| panel::grafanas_type(one.kind)).collect();
    kinds.push("text");
    kinds.sort_unstable();
    kinds.dedup();
    let mut list =
        vec![needs("grafana", "grafana", "9.0.0"), needs("datasource", "prometheus", "1.0.0")];
    list.extend(kinds.into_iter().map(|kind| needs("panel", kind, "")));
    list.into()
}

fn variables(board: &Board) -> Json {
    let mut list = vec![object([
        ("name", "datasource".into()),
        ("label", "Data source".into()),
        ("type", "datasource".into()),
        ("query", "prometheus".into()),
        ("refresh", 1.into()),
        ("regex", "".into()),
        ("hide", 0.into()),
        ("multi", false.into()),
        ("includeAll", false.into()),
        ("current", Json::Object(Vec::new())),
        ("options", Vec::new().into()),
    ])];
    let metric = board.metric;
    list.push(queried("job", "Job", &format!("label_values({metric}, job)"), true));
    let instances = format!("label_values({metric}{{job=~\"$job\"}}, instance)");
    list.push(queried("instance", "Instance", &instances, true));
    if board.services != Services::No {
        let services = "label_values(watchkeep_slo_objective{job=~\"$job\"}, service)";
        list.push(queried("service", "Service", services, board.services == Services::Many));
    }
    let node = object([("text", NODE.into()), ("value", NODE.into())]);
    let option = object([("selected", true.into()), ("text", NODE.into()), ("value", NODE.into())]);
    list.push(object([
        ("name", "watchkeep".into()),
        ("label", "Watchkeep".into()),
        ("description", "Base URL of a node; links to runbooks begin with it".into()),
        ("type", "textbox".into()),
        ("query", NODE.into()),
        ("hide", 0.into()),
        ("current", node),
        ("options", vec![option].into()),
    ]));
    list.into()
}

fn queried(name: &str, label: &str, query: &str, many: bool) -> Json {
    let all = object([
        ("selected", true.into()),
        ("text", texts(&["All"])),
        ("value", texts(&["$__all"])),
    ]);
    object([
        ("name", name.into()),
        ("label", label.into()),
        ("type", "query".into()),
        ("datasource", datasource()),
        ("definition", query.into()),
        ("query", object([("query", query.into()), ("refId", name.into())])),
        ("refresh", 2.into()),
        ("sort", 1.into()),
        ("multi", many.into()),
        ("includeAll", many.into()),
        ("allValue", if many { ".+".into() } else { Json::Null }),
        ("current", if many { all } else { Json::Object(Vec::new()) }),
        ("regex", "".into()),
        ("hide", 0.into()),
        ("options", Vec::new().into()),
    ])
}

/// What happened, as marks over every panel. Each lasts a minute, so that no step between two points misses it.
fn annotations() -> Json {
    let builtin = object([
        ("builtIn", 1.into()),
        ("datasource", object([("type", "grafana".into()), ("uid", "-- Grafana --".into())])),
        ("enable", true.into()),
        ("hide", true.into()),
        ("iconColor", "rgba(0, 211, 255, 1)".into()),
        ("name", "Annotations & Alerts".into()),
        ("type", "dashboard".into()),
    ]);
    let mark = |name: &str, color: &str, expr: &str, text: &str| {
        object([
            ("name", name.into()),
            ("datasource", datasource()),
            ("enable", true.into()),
            ("hide", false.into()),
            ("iconColor", color.into()),
            ("expr", scoped(expr).into()),
            ("step", "15s".into()),
            ("titleFormat", name.into()),
            ("textFormat", text.into()),
            ("tagKeys", "".into()),
            ("useValueForTime", false.into()),
        ])
    };
    vec![
        builtin,
        mark(
            "Registry's leader changes",
            "blue",
            "max by (instance) (etcd_server_is_leader) == 1 unless max by (instance) (etcd_server_is_leader offset 1m) == 1",
            "{{instance}} leads",
        ),
        mark(
            "Alerting leader changes",
            "purple",
            "max by (instance) (watchkeep_alerting_is_leader) == 1 unless max by (instance) (watchkeep_alerting_is_leader offset 1m) == 1",
            "{{instance}} leads",
        ),
        mark(
            "Failovers",
            "red",
            "sum by (policy) (increase(watchkeep_alerting_callbacks_total{result=\"delivered\"}[1m])) > 0",
            "callback of {{policy}} delivered",
        ),
    ]
    .into()
}

fn links() -> Json {
    let link = |kind: &str, title: &str, url: &str| {
        object([
            ("type", kind.into()),
            ("title", title.into()),
            ("url", url.into()),
            ("tags", if kind == "dashboards" { texts(&["watchkeep"]) } else { Vec::new().into() }),
            ("asDropdown", (kind == "dashboards").into()),
            ("includeVars", (kind == "dashboards").into()),
            ("keepTime", (kind == "dashboards").into()),
            ("icon", "external link".into()),
            ("targetBlank", (kind != "dashboards").into()),
            ("tooltip", "".into()),
        ])
    };
    vec![
        link("dashboards", "Watchkeep", ""),
        link("link", "Console", "${watchkeep}/"),
        link("link", "Runbooks", "${watchkeep}/runbooks/"),
    ]
    .into()
}

/// What says how to read it, then the rows: panels from left to right, and on as soon as one does not fit.
fn panels(board: &Board) -> Json {
    let reading = board.reading.lines().count();
    let height = 2 + u32::try_from(reading).unwrap_or(0);
    let (mut list, mut id, mut y) = (Vec::new(), 1, height);
    list.push(panel::text(id, board.reading, place(COLUMNS, height, 0, 0)));
    for (title, row) in &board.rows {
        id += 1;
        list.push(panel::row(id, title, place(COLUMNS, 1, 0, y)));
        y += 1;
        let (mut x, mut tallest) = (0, 0);
        for one in row {
            if x + one.width > COLUMNS {
                (x, y, tallest) = (0, y + tallest, 0);
            }
            id += 1;
            list.push(panel::panel(id, one, place(one.width, one.height, x, y)));
            x += one.width;
            tallest = tallest.max(one.height);
        }
        y += tallest;
    }
    list.into()
}

fn place(w: u32, h: u32, x: u32, y: u32) -> Json {
    object([("h", h.into()), ("w", w.into()), ("x", x.into()), ("y", y.into())])
}
