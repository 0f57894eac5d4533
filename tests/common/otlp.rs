//! An OTLP receiver that is not ours: `tests/data/otlp_receiver.py`, over PyPI's opentelemetry-proto and grpcio. What it
//! received stands in its log, a line of JSON each.

use std::{path::Path, process::Command, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{eventually, mail::python, ports, process::Process, wait::ensure};

/// A span, as the receiver read it.
#[derive(Debug, Clone, Deserialize)]
pub struct Span {
    /// `service.instance.id` of who sent it.
    pub node: String,
    /// The trace, hexadecimal.
    pub trace: String,
    /// Its own id.
    pub id: String,
    /// The id of the span above it; empty: it is the first.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `SPAN_KIND_SERVER`, …
    pub side: String,
    /// Nanoseconds since 1970.
    pub begin: u64,
    /// Nanoseconds since 1970.
    pub end: u64,
    /// Its attributes.
    pub attributes: Map<String, Value>,
    /// The traces of those that it is linked with.
    pub links: Vec<String>,
}

/// A point of a metric.
#[derive(Debug, Clone, Deserialize)]
pub struct Point {
    /// `service.instance.id` of who sent it.
    pub node: String,
    /// The metric.
    pub name: String,
    /// `sum`, `gauge` or `histogram`.
    pub shape: String,
    /// Its attributes.
    pub labels: Map<String, Value>,
    /// Its value; of a histogram the count.
    pub value: f64,
}

/// The receiver.
pub struct OtlpReceiver {
    port: u16,
    process: Process,
}

impl OtlpReceiver {
    /// Starts it and waits until it listens.
    pub async fn start(dir: &Path) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/otlp_receiver.py");
        let port = ports::free();
        let mut command = Command::new(python());
        command.arg("-u").arg(program).arg(port.to_string());
        let process = Process::spawn("OTLP receiver", command, &dir.join("otlp.log"));
        let receiver = Self { port, process };
        eventually(
            "the OTLP receiver; `cargo xtask peers` installs it",
            Duration::from_secs(20),
            async || {
                let output = receiver.process.output();
                ensure(output.contains("\"ready\""), || output)
            },
        )
        .await;
        receiver
    }

    /// What `telemetry.otlp_endpoint` says.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, kind: &str, with: &str) -> Vec<T> {
        let output = self.process.output();
        let whole = output.rfind('\n').map_or("", |end| &output[..end]);
        let lines = whole.lines().filter(|line| line.contains(with));
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines = lines.filter(|line| line["kind"] == kind);
        lines.map(|line| serde_json::from_value(line).expect("the receiver's own form")).collect()
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<Span> {
        self.read("span", "")
    }

    /// The first point of each series so far.
    pub fn points(&self) -> Vec<Point> {
        self.read("metric", "")
    }

    /// The spans of one trace.
    pub fn of(&self, trace: &str) -> Vec<Span> {
        self.read::<Span>("span", trace).into_iter().filter(|span| span.trace == trace).collect()
    }
}

/// The names from the first span down to each that is called `name`: one line per such span, with who made each.
pub fn lines<'a>(spans: &'a [Span], name: &str) -> Vec<Vec<&'a Span>> {
    let above = |span: &Span| spans.iter().find(|other| other.id == span.parent);
    let ends = spans.iter().filter(|span| span.name == name);
    ends.map(|end| {
        let mut line: Vec<&Span> = std::iter::successors(Some(end), |span| above(span)).collect();
        line.reverse();
        line
    })
    .collect()
}
