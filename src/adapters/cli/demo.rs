//! What the demonstration says: what to try, and one line for each request.

use std::sync::atomic::{AtomicBool, Ordering};

use app::status::Severity;
use http::{HeaderMap, Method};
use ports::telemetry::{Attempt, Outcome, RequestFinished, RequestRecord, RequestStart, TableChange, Telemetry};

use super::out;
use super::report_text::{Style, clean};

/// The longest path that a line shows, in characters.
const PATH_CHARS: usize = 80;

/// Prints instead of measuring.
pub struct DemoLines {
    port: u16,
    models: Vec<String>,
    style: Style,
    greeted: AtomicBool,
}

impl DemoLines {
    /// Lines for a proxy on this port, which is to serve these models, each from a server of its own.
    pub fn new(port: u16, models: Vec<String>, style: Style) -> Self {
        Self { port, models, style, greeted: AtomicBool::new(false) }
    }

    /// What to try. Nothing is indented, so that it can be pasted into a Python prompt, and nothing is wider than a
    /// terminal.
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
             Each request shows below. Ctrl-C stops everything.\n",
            head(&format!("The proxy runs at {url}")),
            self.models.len(),
            self.models.join(", "),
            head("What is there:"),
            head("An answer, word by word:"),
            head("The other model, as Anthropic's clients ask:"),
            head("The Python client (pip install openai):"),
            head("How everything stands, in a browser:"),
        )
    }
}

impl Telemetry for DemoLines {
    fn request(&self, arrival: &RequestStart<'_>) -> Option<Box<dyn RequestRecord>> {
        // The page at /status loads itself anew every few seconds; that is not what one wants to see.
        if !arrival.path.starts_with("/v1/") {
            return None;
        }
        let path: String = clean(arrival.path).chars().take(PATH_CHARS).collect();
        Some(Box::new(Line { method: arrival.method.clone(), path, style: self.style, backend: String::new() }))
    }

    fn table_changed(&self, _: &TableChange) {}

    fn backends_active(&self, count: usize) {
        if count >= self.models.len() && !self.greeted.swap(true, Ordering::AcqRel) {
            let _ = out::print(&format!("{}\n", self.greeting()));
        }
    }
}

/// One request, printed when it is over.
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
        let status = finished.status.map_or_else(|| "no answer".to_owned(), |status| status.as_u16().to_string());
        let level = match finished.status.map(|status| status.as_u16()) {
            Some(100..400) => Severity::Good,
            _ => Severity::Wrong,
        };
        let first = match finished.first_byte.filter(|_| finished.streamed) {
            Some(time) => format!(", first byte after {} ms", time.as_millis()),
            None => String::new(),
        };
        let outcome = match finished.outcome {
            Outcome::Complete | Outcome::AnsweredLocally => String::new(),
            Outcome::ClientLeft => ", the client left first".to_owned(),
            Outcome::BackendBroke => ", the backend broke off".to_owned(),
            Outcome::CutByDrain => ", cut: the proxy stops".to_owned(),
        };
        let details = format!("{to}, {} ms{first}{outcome}", finished.duration.as_millis());
        let status = self.style.level(level, &status);
        // The demonstration goes on, whether it is read or not.
        let line = format!("{status} {} {}  {}\n", self.method, self.path, self.style.dim(&details));
        let _ = out::print(&line);
    }

    fn trace_ids(&self) -> Option<(String, String)> {
        None
    }
}
