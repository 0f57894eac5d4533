//! A panel as Grafana wants it written.

use super::{
    board::{Kind, Panel, Steps},
    grafana::datasource,
    json::{Json, object, texts},
    query::scoped,
};

/// What Grafana calls this kind of panel.
pub(super) fn grafanas_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Stat | Kind::Name => "stat",
        Kind::Lines | Kind::Areas => "timeseries",
        Kind::Bars => "bargauge",
        Kind::States(_) => "state-timeline",
        Kind::Table => "table",
    }
}

/// What says how to read a dashboard.
pub(super) fn text(id: u32, markdown: &str, place: Json) -> Json {
    object([
        ("id", id.into()),
        ("type", "text".into()),
        ("title", "How to read this".into()),
        ("description", "What to look at first, and what it means.".into()),
        ("options", object([("mode", "markdown".into()), ("content", markdown.trim().into())])),
        ("gridPos", place),
    ])
}

/// The headline of a row.
pub(super) fn row(id: u32, title: &str, place: Json) -> Json {
    object([
        ("id", id.into()),
        ("type", "row".into()),
        ("title", title.into()),
        ("collapsed", false.into()),
        ("panels", Vec::new().into()),
        ("gridPos", place),
    ])
}

/// Any other panel.
pub(super) fn panel(id: u32, panel: &Panel, place: Json) -> Json {
    let mut fields = vec![
        ("id", id.into()),
        ("type", grafanas_type(panel.kind).into()),
        ("title", panel.title.into()),
        ("description", panel.description.into()),
        ("datasource", datasource()),
        ("targets", targets(panel)),
        ("fieldConfig", object([("defaults", defaults(panel)), ("overrides", overrides(panel))])),
        ("options", options(panel)),
        ("links", links(panel)),
        ("gridPos", place),
    ];
    if panel.kind == Kind::Table {
        fields.push(("transformations", transformations(panel)));
    }
    Json::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn targets(panel: &Panel) -> Json {
    let is_instant = matches!(panel.kind, Kind::Stat | Kind::Name | Kind::Bars | Kind::Table);
    let format = if panel.kind == Kind::Table { "table" } else { "time_series" };
    let target = |(letter, query): (char, &super::board::Query)| {
        object([
            ("refId", letter.to_string().into()),
            ("datasource", datasource()),
            ("expr", scoped(&query.expr).into()),
            ("legendFormat", query.legend.into()),
            ("format", format.into()),
            ("editorMode", "code".into()),
            ("range", (!is_instant).into()),
            ("instant", is_instant.into()),
        ])
    };
    ('A'..='Z').zip(&panel.queries).map(target).collect::<Vec<_>>().into()
}

fn steps(steps: Steps) -> Json {
    let step = |(color, value): &(&str, Option<f64>)| {
        object([("color", (*color).into()), ("value", value.map_or(Json::Null, Json::Number))])
    };
    let list: Vec<Json> = steps.iter().map(step).collect();
    object([("mode", "absolute".into()), ("steps", list.into())])
}

fn defaults(panel: &Panel) -> Json {
    let is_lines = matches!(panel.kind, Kind::Lines | Kind::Areas);
    let color = if is_lines { "palette-classic" } else { "thresholds" };
    let mut fields = vec![
        ("unit", panel.unit.into()),
        ("color", object([("mode", color.into())])),
        ("thresholds", steps(panel.steps)),
        ("mappings", mappings(panel.kind)),
    ];
    if is_lines {
        fields.push(("custom", drawing(panel)));
    } else if let Kind::States(_) = panel.kind {
        let custom = object([("fillOpacity", 80.into()), ("lineWidth", 0.into())]);
        fields.push(("custom", custom));
    } else if panel.kind == Kind::Bars {
        fields.push(("min", 0.into()));
    }
    let bounds = [("min", panel.min), ("max", panel.max)];
    fields.extend(bounds.into_iter().filter_map(|(name, at)| Some((name, at?.into()))));
    fields.extend(panel.decimals.map(|digits| ("decimals", digits.into())));
    Json::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn drawing(panel: &Panel) -> Json {
    let stacked = panel.kind == Kind::Areas;
    let stacking = if stacked { "normal" } else { "none" };
    let lines = if panel.steps.len() > 1 { "line" } else { "off" };
    object([
        ("drawStyle", "line".into()),
        ("lineWidth", 1.into()),
        ("fillOpacity", if stacked { 30.into() } else { 5.into() }),
        ("showPoints", "never".into()),
        ("spanNulls", false.into()),
        ("stacking", object([("mode", stacking.into()), ("group", "A".into())])),
        ("thresholdsStyle", object([("mode", lines.into())])),
    ])
}

fn mappings(kind: Kind) -> Json {
    let Kind::States(states) = kind else { return Vec::new().into() };
    let named = |(at, (text, color)): (u32, &(&str, &str))| {
        let shown =
            object([("text", (*text).into()), ("color", (*color).into()), ("index", at.into())]);
        (at.to_string(), shown)
    };
    let options = Json::Object((0..).zip(states).map(named).collect());
    vec![object([("type", "value".into()), ("options", options)])].into()
}

/// What a table's columns have of their own.
fn overrides(panel: &Panel) -> Json {
    let property = |id: &str, value: Json| object([("id", id.into()), ("value", value)]);
    let by_name = |name: &str, properties: Vec<Json>| {
        let matcher = object([("id", "byName".into()), ("options", name.into())]);
        object([("matcher", matcher), ("properties", properties.into())])
    };
    let column = |query: &super::board::Query| {
        let (unit, of) = query.column?;
        let cell = object([("type", "color-text".into())]);
        let properties = vec![
            property("unit", unit.into()),
            property("decimals", if unit == "percentunit" { 3.into() } else { 2.into() }),
            property("thresholds", steps(of)),
            property("custom.cellOptions", cell),
        ];
        Some(by_name(query.legend, properties))
    };
    let mut list: Vec<Json> = panel.queries.iter().filter_map(column).collect();
    if panel.kind == Kind::Table {
        let link = object([
            ("title", "Service detail".into()),
            ("url", "/d/watchkeep-service?var-service=${__value.text}".into()),
        ]);
        list.push(by_name("service", vec![property("links", vec![link].into())]));
    }
    list.into()
}

/// One table of all queries, by service; the columns have the queries' names.
fn transformations(panel: &Panel) -> Json {
    let renamed = ('A'..='Z')
        .zip(&panel.queries)
        .map(|(letter, query)| (format!("Value #{letter}"), query.legend.into()));
    let organize = object([
        ("excludeByName", object([("Time", true.into())])),
        ("renameByName", Json::Object(renamed.collect())),
    ]);
    vec![
        object([("id", "merge".into()), ("options", Json::Object(Vec::new()))]),
        object([("id", "organize".into()), ("options", organize)]),
    ]
    .into()
}

fn options(panel: &Panel) -> Json {
    let newest = || {
        object([
            ("calcs", texts(&["lastNotNull"])),
            ("fields", "".into()),
            ("values", false.into()),
        ])
    };
    let below = |shown: bool| {
        object([
            ("displayMode", "list".into()),
            ("placement", "bottom".into()),
            ("showLegend", shown.into()),
        ])
    };
    let tooltip = |mode: &str| object([("mode", mode.into()), ("sort", "desc".into())]);
    match panel.kind {
        Kind::Stat | Kind::Name => object([
            ("reduceOptions", newest()),
            ("orientation", "auto".into()),
            ("textMode", if panel.kind == Kind::Name { "name".into() } else { "auto".into() }),
            ("colorMode", "value".into()),
            ("graphMode", "none".into()),
            ("justifyMode", "auto".into()),
        ]),
        Kind::Lines | Kind::Areas => {
            object([("legend", below(true)), ("tooltip", tooltip("multi"))])
        }
        Kind::Bars => object([
            ("reduceOptions", newest()),
            ("orientation", "horizontal".into()),
            ("displayMode", "basic".into()),
            ("valueMode", "color".into()),
            ("showUnfilled", true.into()),
        ]),
        Kind::States(_) => object([
            ("mergeValues", true.into()),
            ("showValue", "never".into()),
            ("alignValue", "center".into()),
            ("rowHeight", 0.9.into()),
            ("legend", below(true)),
            ("tooltip", tooltip("single")),
        ]),
        Kind::Table => object([("showHeader", true.into()), ("cellHeight", "sm".into())]),
    }
}

fn links(panel: &Panel) -> Json {
    let link = |alert: &&str| {
        object([
            ("title", format!("Runbook: {alert}").into()),
            ("url", format!("${{watchkeep}}/runbooks/{alert}").into()),
            ("targetBlank", true.into()),
        ])
    };
    panel.runbooks.iter().map(link).collect::<Vec<_>>().into()
}
