//! What a dashboard says, apart from how Grafana wants it written.

/// Colours from a value on; the first has no value and counts below all.
pub(super) type Steps = &'static [(&'static str, Option<f64>)];

/// Nothing to be judged.
pub(super) const PLAIN: Steps = &[("green", None)];
/// The promise of 100 ms.
pub(super) const LATENCY: Steps = &[("green", None), ("red", Some(0.1))];
/// The promise of 99.99 %.
pub(super) const OBJECTIVE: Steps =
    &[("red", None), ("orange", Some(0.9995)), ("green", Some(0.9999))];
/// What is left of an error budget.
pub(super) const BUDGET: Steps =
    &[("red", None), ("orange", Some(0.0001)), ("yellow", Some(0.25)), ("green", Some(0.5))];
/// Burn rates: 1 spends the budget exactly, 14.4 pages.
pub(super) const BURN: Steps = &[("green", None), ("orange", Some(1.0)), ("red", Some(14.4))];
/// One is one too many.
pub(super) const NONE: Steps = &[("green", None), ("red", Some(1.0))];
/// One is worth a look.
pub(super) const FEW: Steps = &[("green", None), ("orange", Some(1.0))];
/// One has to be there.
pub(super) const SOME: Steps = &[("red", None), ("green", Some(1.0))];

/// A dashboard.
pub(super) struct Board {
    /// Of the file, and of `watchkeep-NAME`, by which others link it.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Which questions it answers.
    pub(super) description: &'static str,
    /// A metric that every node has that it is about.
    pub(super) metric: &'static str,
    /// How to read it, in Markdown.
    pub(super) reading: &'static str,
    pub(super) services: Services,
    pub(super) rows: Vec<(&'static str, Vec<Panel>)>,
}

/// Whether a dashboard has the variable `service`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Services {
    /// It has none.
    No,
    /// Some of them, or all.
    Many,
    /// One at a time.
    One,
}

impl Board {
    /// Adds a row with its panels, laid out from left to right.
    pub(super) fn row(mut self, title: &'static str, panels: Vec<Panel>) -> Self {
        self.rows.push((title, panels));
        self
    }
}

/// How a panel shows its queries.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// The newest value, large.
    Stat,
    /// The label of the newest value, large.
    Name,
    /// Lines over time.
    Lines,
    /// Areas on top of each other over time.
    Areas,
    /// Bars of the newest values.
    Bars,
    /// What each value is called, over time.
    States(&'static [(&'static str, &'static str)]),
    /// A row per service, a column per query.
    Table,
}

/// A panel.
pub(super) struct Panel {
    pub(super) kind: Kind,
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) description: &'static str,
    pub(super) queries: Vec<Query>,
    pub(super) steps: Steps,
    pub(super) runbooks: Vec<&'static str>,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) decimals: Option<u32>,
}

/// A query of a panel.
pub(super) struct Query {
    /// PromQL without `job` and `instance`: every metric is given both.
    pub(super) expr: String,
    pub(super) legend: &'static str,
    /// Of a table's column, when not the panel's.
    pub(super) column: Option<(&'static str, Steps)>,
}

impl Panel {
    fn new(
        kind: Kind,
        title: &'static str,
        unit: &'static str,
        description: &'static str,
        (width, height): (u32, u32),
    ) -> Self {
        Self {
            kind,
            title,
            unit,
            description,
            queries: Vec::new(),
            steps: PLAIN,
            runbooks: Vec::new(),
            width,
            height,
            min: None,
            max: None,
            decimals: None,
        }
    }

    /// Adds a query; `{{label}}` in the legend stands for a label's value.
    pub(super) fn ask(mut self, legend: &'static str, expr: impl Into<String>) -> Self {
        self.queries.push(Query { expr: expr.into(), legend, column: None });
        self
    }

    /// Adds a column of a table.
    pub(super) fn column(
        mut self,
        title: &'static str,
        unit: &'static str,
        steps: Steps,
        expr: impl Into<String>,
    ) -> Self {
        self.queries.push(Query { expr: expr.into(), legend: title, column: Some((unit, steps)) });
        self
    }

    /// Colours, and lines at these values.
    pub(super) fn steps(mut self, steps: Steps) -> Self {
        self.steps = steps;
        self
    }

    /// Links the runbook of an alert.
    pub(super) fn runbook(mut self, alert: &'static str) -> Self {
        self.runbooks.push(alert);
        self
    }

    /// Of 24 columns and of rows of 30 pixels.
    pub(super) fn size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// Digits behind the point.
    pub(super) fn decimals(mut self, decimals: u32) -> Self {
        self.decimals = Some(decimals);
        self
    }

    /// The scale does not begin at 0.
    pub(super) fn free(mut self) -> Self {
        self.min = None;
        self
    }

    /// A share's scale ends at 1.
    pub(super) fn share(mut self) -> Self {
        self.max = Some(1.0);
        self.free()
    }
}

/// The newest value, large.
pub(super) fn stat(title: &'static str, unit: &'static str, description: &'static str) -> Panel {
    Panel::new(Kind::Stat, title, unit, description, (4, 4))
}

/// The label of the newest value, large.
pub(super) fn name(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Kind::Name, title, "short", description, (4, 4))
}

/// Lines over time, from 0 on.
pub(super) fn lines(title: &'static str, unit: &'static str, description: &'static str) -> Panel {
    let panel = Panel::new(Kind::Lines, title, unit, description, (8, 7));
    Panel { min: Some(0.0), ..panel }
}

/// Areas on top of each other over time.
pub(super) fn areas(title: &'static str, unit: &'static str, description: &'static str) -> Panel {
    let panel = Panel::new(Kind::Areas, title, unit, description, (8, 7));
    Panel { min: Some(0.0), ..panel }
}

/// Bars of the newest values.
pub(super) fn bars(title: &'static str, unit: &'static str, description: &'static str) -> Panel {
    Panel::new(Kind::Bars, title, unit, description, (12, 7))
}

/// What 0, 1, … are called over time, and their colours.
pub(super) fn states(
    title: &'static str,
    description: &'static str,
    states: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel::new(Kind::States(states), title, "none", description, (12, 6))
}

/// A row per service, a column per query.
pub(super) fn table(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Kind::Table, title, "short", description, (24, 8))
}
