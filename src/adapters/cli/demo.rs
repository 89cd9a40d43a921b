//! The output of the `demo` command: commands to try, then one line for each request.

use std::sync::atomic::{AtomicBool, Ordering};

use app::status::Severity;
use http::{HeaderMap, Method};
use ports::telemetry::{Attempt, Outcome, RequestFinished, RequestRecord, RequestStart, TableChange, Telemetry};

use super::out;
use super::report_text::{Style, clean};

/// The longest path in a line.
const PATH_CHARS: usize = 80;

/// A telemetry that prints requests.
pub struct DemoLines {
    port: u16,
    models: Vec<String>,
    replicas: usize,
    style: Style,
    greeted: AtomicBool,
}

impl DemoLines {
    /// Creates the output for a proxy on this port, with so many sample servers for each model.
    pub fn new(port: u16, models: Vec<String>, replicas: usize, style: Style) -> Self {
        Self { port, models, replicas, style, greeted: AtomicBool::new(false) }
    }

    fn servers(&self) -> usize {
        self.models.len() * self.replicas
    }

    /// Returns the commands to try. No line is indented, as a Python prompt requires, or wider than a terminal.
    pub fn greeting(&self) -> String {
        let url = format!("http://localhost:{}", self.port);
        let first = self.models.first().map_or("", String::as_str);
        let last = self.models.last().map_or("", String::as_str);
        let head = |text: &str| self.style.bold(text);
        format!(
            "{}\n\
             {} sample servers run behind it: {}.\nTry, in another terminal:\n\n\
             {}\ncurl {url}/v1/models\n\n\
             {}\ncurl -N {url}/v1/chat/completions \\\n  \
               -H 'content-type: application/json' \\\n  \
               -d '{{\"model\": \"{first}\", \"stream\": true,\n       \
                    \"messages\": [{{\"role\": \"user\", \"content\": \"Hello!\"}}]}}'\n\n\
             {}\ncurl {url}/v1/messages \\\n  \
               -H 'content-type: application/json' \\\n  \
               -d '{{\"model\": \"{last}\", \"max_tokens\": 100,\n       \
                    \"messages\": [{{\"role\": \"user\", \"content\": \"Hello!\"}}]}}'\n\n\
             {}\nfrom openai import OpenAI\nclient = OpenAI(base_url=\"{url}/v1\", api_key=\"none\")\n\
               question = [{{\"role\": \"user\", \"content\": \"Hello!\"}}]\n\
               answer = client.chat.completions.create(model=\"{first}\", messages=question)\n\
               print(answer.choices[0].message.content)\n\n\
             {}\n{url}/status\n\n\
             Requests are printed below. Ctrl-C stops everything.\n",
            head(&format!("The proxy runs at {url}")),
            self.servers(),
            self.models.join(", "),
            head("The models:"),
            head("A streamed response:"),
            head("The other model, through the Anthropic API:"),
            head("The Python client (pip install openai):"),
            head("The status page, in a browser:"),
        )
    }
}

impl Telemetry for DemoLines {
    fn request(&self, start: &RequestStart<'_>) -> Option<Box<dyn RequestRecord>> {
        // The status page reloads itself every few seconds, which would flood the output.
        if !start.path.starts_with("/v1/") {
            return None;
        }
        let path: String = clean(start.path).chars().take(PATH_CHARS).collect();
        Some(Box::new(Line { method: start.method.clone(), path, style: self.style, backend: String::new() }))
    }

    fn table_changed(&self, _: &TableChange) {}

    fn backends_active(&self, count: usize) {
        if count >= self.servers() && !self.greeted.swap(true, Ordering::AcqRel) {
            let _ = out::print(&format!("{}\n", self.greeting()));
        }
    }
}

/// One request, printed when it has finished.
struct Line {
    method: Method,
    path: String,
    style: Style,
    backend: String,
}

impl RequestRecord for Line {
    fn attempt(&mut self, attempt: &Attempt<'_>, _: &mut HeaderMap) {
        self.backend = format!("{} at {}", attempt.model, attempt.address);
    }

    fn attempt_failed(&mut self, _: &str) {}

    fn first_byte(&mut self) {}

    fn finish(self: Box<Self>, finished: &RequestFinished) {
        let to = match self.backend.is_empty() {
            true => "answered by the proxy".to_owned(),
            false => format!("-> {}", self.backend),
        };
        let status = finished.status.map_or_else(|| "no response".to_owned(), |status| status.as_u16().to_string());
        let severity = match finished.status.map(|status| status.as_u16()) {
            Some(100..400) => Severity::Good,
            _ => Severity::Wrong,
        };
        let first = match finished.first_byte.filter(|_| finished.streamed) {
            Some(time) => format!(", first byte after {} ms", time.as_millis()),
            None => String::new(),
        };
        let outcome = match finished.outcome {
            Outcome::Complete | Outcome::Local => String::new(),
            Outcome::ClientLeft => ", the client left first".to_owned(),
            Outcome::BackendBroke => ", the backend closed mid-response".to_owned(),
            Outcome::ForceClosed => ", closed: the proxy is stopping".to_owned(),
        };
        let details = format!("{to}, {} ms{first}{outcome}", finished.duration.as_millis());
        let status = self.style.severity(severity, &status);
        let line = format!("{status} {} {}  {}\n", self.method, self.path, self.style.dim(&details));
        // The demo goes on if its output cannot be written.
        let _ = out::print(&line);
    }

    fn trace_ids(&self) -> Option<(String, String)> {
        None
    }
}
