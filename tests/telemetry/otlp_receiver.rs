//! A real receiver of OTLP (`tests/otlp/receiver.py`), and questions about what it got.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::support::not_run;

/// Longest wait for something to arrive. Python starts slowly on a busy machine.
const ARRIVAL: Duration = Duration::from_secs(30);

pub struct Receiver {
    lines: Lines<BufReader<ChildStdout>>,
    pub grpc: u64,
    pub http: u64,
    /// Every export, as it arrived.
    pub exports: Vec<Value>,
    _process: Child,
}

impl Receiver {
    /// Starts one; `None` where the Python packages are missing, which is said.
    pub async fn start(tls: Option<&Path>) -> Option<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let python = root.join(".venv/bin/python");
        if !python.exists() {
            not_run("the receiver of telemetry needs the Python packages: run `make venv`");
            return None;
        }
        let mut command = Command::new(python);
        command.arg(root.join("tests/otlp/receiver.py")).env("PYTHONDONTWRITEBYTECODE", "1");
        if let Some(folder) = tls {
            command.arg("--tls").arg(folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(ARRIVAL, lines.next_line()).await.expect("the receiver starts").unwrap();
        let ports: Value = serde_json::from_str(&first.expect("the receiver names its ports")).unwrap();
        let port = |name: &str| ports[name].as_u64().unwrap();
        Some(Self { lines, grpc: port("grpc"), http: port("http"), exports: Vec::new(), _process: process })
    }

    /// Takes in what arrives until `enough` holds.
    pub async fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let arrivals = async {
            while !enough(self) {
                let line = self.lines.next_line().await.unwrap().expect("the receiver lives");
                self.exports.push(serde_json::from_str(&line).unwrap());
            }
        };
        let came = tokio::time::timeout(ARRIVAL, arrivals).await;
        assert!(came.is_ok(), "waited {ARRIVAL:?} for {what}; came: {:#?}", self.exports);
    }

    /// Every span, of all exports, with its attributes as one object under `attributes`.
    pub fn spans(&self) -> Vec<Value> {
        let mut spans = Vec::new();
        for resource in self.bodies("traces").flat_map(|body| array(&body["resourceSpans"])) {
            for scope in array(&resource["scopeSpans"]) {
                spans.extend(array(&scope["spans"]).into_iter().map(flat));
            }
        }
        spans
    }

    /// The spans of this kind (`SERVER`, `CLIENT`, `INTERNAL`).
    pub fn spans_of(&self, kind: &str) -> Vec<Value> {
        let kind = format!("SPAN_KIND_{kind}");
        self.spans().into_iter().filter(|span| span["kind"] == kind.as_str()).collect()
    }

    /// The metric of that name, as the last export that had it has it.
    pub fn metric(&self, name: &str) -> Option<Value> {
        let found = self.bodies("metrics").flat_map(metrics_of).filter(|metric| metric["name"] == name);
        found.last()
    }

    /// The points of a metric, of the last export of metrics. Empty where it has none.
    pub fn points(&self, name: &str) -> Vec<Value> {
        let last = self.bodies("metrics").last().map(metrics_of).unwrap_or_default();
        last.into_iter().filter(|metric| metric["name"] == name).flat_map(|metric| points(&metric)).collect()
    }

    /// The point of a metric that has these attributes and no others.
    pub fn point(&self, name: &str, attributes: Value) -> Option<Value> {
        self.points(name).into_iter().find(|point| point["attributes"] == attributes)
    }

    /// The attributes of the resource, of the first export of this signal.
    pub fn resource(&self, signal: &str) -> Value {
        let body = self.bodies(signal).next().expect("an export");
        let key = if signal == "traces" { "resourceSpans" } else { "resourceMetrics" };
        flat(body[key][0]["resource"].clone())["attributes"].clone()
    }

    /// The instrumentation scope of the first export of this signal.
    pub fn scope(&self, signal: &str) -> Value {
        let body = self.bodies(signal).next().expect("an export");
        let (resources, scopes) = match signal {
            "traces" => ("resourceSpans", "scopeSpans"),
            _ => ("resourceMetrics", "scopeMetrics"),
        };
        body[resources][0][scopes][0]["scope"].clone()
    }

    pub fn exports_of<'a>(&'a self, signal: &'a str) -> impl Iterator<Item = &'a Value> {
        self.exports.iter().filter(move |export| export["signal"] == signal)
    }

    fn bodies<'a>(&'a self, signal: &'a str) -> impl Iterator<Item = &'a Value> {
        self.exports_of(signal).map(|export| &export["body"])
    }
}

fn metrics_of(body: &Value) -> Vec<Value> {
    let scopes = array(&body["resourceMetrics"]).into_iter().flat_map(|r| array(&r["scopeMetrics"]));
    scopes.flat_map(|scope| array(&scope["metrics"])).collect()
}

/// The points of a metric of any kind.
pub fn points(metric: &Value) -> Vec<Value> {
    let kinds = ["sum", "gauge", "histogram"];
    kinds.iter().flat_map(|kind| array(&metric[kind]["dataPoints"])).map(flat).collect()
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Attributes, and those of events, as plain objects.
fn flat(mut value: Value) -> Value {
    let pairs = array(&value["attributes"]);
    value["attributes"] =
        pairs.iter().map(|pair| (pair["key"].as_str().unwrap().to_owned(), plain(&pair["value"]))).collect();
    if value["events"].is_array() {
        value["events"] = array(&value["events"]).into_iter().map(flat).collect();
    }
    value
}

fn plain(value: &Value) -> Value {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "intValue" => inner.as_str().unwrap().parse::<i64>().unwrap().into(),
        "arrayValue" => array(&inner["values"]).iter().map(plain).collect(),
        _ => inner.clone(),
    }
}
