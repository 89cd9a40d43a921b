//! The program as a person runs it: its settings, its subcommands, what it prints and how it exits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "program/output.rs"]
mod output;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use app::settings::SETTINGS;

/// How long anything that must come is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program with these arguments and settings, and nothing else from the environment.
fn program(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lw-inference-proxy"));
    command.args(arguments).env_clear().envs(settings.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
fn ends(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut running = Running::of(program(arguments, settings)).ended();
    let child = &mut running.child;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    Output { status: child.wait().unwrap(), stdout, stderr }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A program that runs; it is killed with the value.
struct Running {
    child: Child,
}

impl Running {
    fn of(mut command: Command) -> Self {
        Self { child: command.spawn().unwrap() }
    }

    fn proxy(port: u16, settings: &[(&str, &str)]) -> Self {
        let port = port.to_string();
        let mut all = vec![("PROXY_PORT", port.as_str()), ("PROXY_BIND", "127.0.0.1"), ("PROXY_DOCKER", "off")];
        all.extend_from_slice(settings);
        Self::of(program(&["serve"], &all))
    }

    fn sample(port: u16, models: &str) -> Self {
        Self::of(program(&["sample", "--port", &port.to_string(), "--models", models], &[]))
    }

    /// Waits until it has ended by itself.
    fn ended(mut self) -> Self {
        until("the program ends", || self.child.try_wait().unwrap().map(|_| ()));
        self
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(done.unwrap().success());
    }

    fn exit_code(mut self) -> Option<i32> {
        until("the program ends", || self.child.try_wait().unwrap()).code()
    }

    fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    fn stderr(&mut self) -> BufReader<ChildStderr> {
        BufReader::new(self.child.stderr.take().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until there is something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The first line that passes the test.
fn line(lines: &mut impl BufRead, wanted: impl Fn(&str) -> bool) -> String {
    let mut heard = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended after:\n{heard}");
        if wanted(&line) {
            return line;
        }
        heard.push_str(&line);
    }
}

/// One request on a connection of its own: the whole answer, `None` where there is none.
fn ask(port: u16, method: &str, path: &str, accept: &str, body: &str) -> Option<String> {
    let mut socket = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn get(port: u16, path: &str) -> Option<String> {
    ask(port, "GET", path, "*/*", "")
}

fn until_served(port: u16, model: &str) {
    until("the model is served", || get(port, "/v1/models").filter(|answer| answer.contains(&format!("\"{model}\""))));
}

fn chat(port: u16, model: &str, stream: bool) -> String {
    let messages = r#"[{"role":"user","content":"Hello there"}]"#;
    let body = format!(r#"{{"model":"{model}","stream":{stream},"max_tokens":3,"messages":{messages}}}"#);
    ask(port, "POST", "/v1/chat/completions", "*/*", &body).unwrap()
}

#[test]
fn a_setting_that_cannot_be_read_stops_the_start_with_one_line_and_64() {
    for (settings, said) in [
        (&[("PROXY_PORT", "80a")][..], "PROXY_PORT is \"80a\"; it must be a port number"),
        (&[("PROXY_BIND", "everywhere")], "PROXY_BIND"),
        (&[("PROXY_DRAIN_TIMEOUT", "90")], "PROXY_DRAIN_TIMEOUT"),
        (&[("PROXY_LOG_FORMAT", "xml")], "PROXY_LOG_FORMAT"),
        (&[("PROXY_STATUS", "maybe")], "PROXY_STATUS"),
        (&[("PROXY_DOCKER", "no")], "PROXY_DOCKER"),
        (&[("PROXY_BACKENDS", "ftp://api.example.com/v1")], "http:// or https://"),
        (&[("PROXY_BACKENDS_CA_FILE", "/nowhere.pem")], "PROXY_BACKENDS_CA_FILE"),
        (&[("PROXY_BACKENDS", "http://a/v1,http://a:80")], "each backend once"),
        (&[("PROXY_DOCKER", "off")], "nothing to route to"),
        (&[("DOCKER_HOST", "gopher://x")], "gopher://x"),
        (&[("RUST_LOG", "a=b=c")], "RUST_LOG"),
    ] {
        let output = ends(&[], settings);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{settings:?}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(said), "{settings:?}: {stderr}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn a_command_line_that_cannot_be_read_exits_with_64() {
    for arguments in [
        &["nonsense"][..],
        &["--nonsense"],
        &["healthcheck", "--port", "0"],
        &["healthcheck", "--path", "no slash"],
        &["sample", "--port", "many"],
    ] {
        assert_eq!(ends(arguments, &[]).status.code(), Some(64), "{arguments:?}");
    }
}

#[test]
fn help_lists_every_setting_and_every_subcommand() {
    let output = ends(&["--help"], &[]);
    let help = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    // However wide the terminal is.
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS {
        let said = format!("{} [default: {}] {}", setting.variable, setting.default, setting.meaning);
        assert!(words.contains(&said), "{said}:\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 80), "a terminal has 80 columns:\n{help}");
    for subcommand in ["serve", "healthcheck", "status", "doctor", "demo", "sample"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(subcommand)), "{subcommand}:\n{help}");
    }
}

#[test]
fn version_is_that_of_the_package() {
    let output = ends(&["--version"], &[]);
    assert_eq!(text(&output.stdout), format!("lw-inference-proxy {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_said_with_what_to_do() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let settings = [("PROXY_PORT", port.as_str()), ("PROXY_BIND", "127.0.0.1")];
    let output = ends(&["demo"], &settings);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains(&port) && stderr.contains("PROXY_PORT"), "{stderr}");
    let output = ends(
        &["serve"],
        &[("PROXY_BACKENDS", "http://127.0.0.1:9"), ("PROXY_DOCKER", "off"), settings[0], settings[1]],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("PROXY_PORT"));
}

#[test]
fn a_backend_that_is_no_container_is_served_leaves_and_returns() {
    let (port, backend) = (free_port(), free_port());
    let base = format!("http://localhost:{backend}/v1/");
    let proxy = Running::proxy(port, &[("PROXY_BACKENDS", &base)]);
    until("the proxy lives", || get(port, "/healthz"));
    let sample = Running::sample(backend, "a,b");
    until_served(port, "a");
    until_served(port, "b");
    assert!(chat(port, "b", false).contains("Hello from b!"));
    drop(sample);
    until("the models are gone", || get(port, "/v1/models").filter(|answer| answer.contains("\"data\":[]")));
    let _again = Running::sample(backend, "a");
    until_served(port, "a");
    proxy.signal("TERM");
    assert_eq!(proxy.exit_code(), Some(0));
}

#[test]
fn backends_are_served_beside_an_engine_that_cannot_be_reached() {
    let (port, backend) = (free_port(), free_port());
    let (base, _sample) = (format!("http://127.0.0.1:{backend}"), Running::sample(backend, "a"));
    let gone =
        [("DOCKER_HOST", "unix:///nonexistent/docker.sock"), ("PROXY_DOCKER", "auto"), ("PROXY_BACKENDS", &*base)];
    let mut proxy = Running::proxy(port, &gone);
    until_served(port, "a");
    until("it is ready", || get(port, "/readyz").filter(|answer| answer.starts_with("HTTP/1.1 200")));
    line(&mut proxy.stdout(), |line| line.contains("/nonexistent/docker.sock") && line.contains("WARN"));
    let status = get(port, "/status").unwrap();
    assert!(status.contains("\"well\": false") && status.contains("there is no socket"), "{status}");
}

#[test]
fn healthcheck_is_0_for_what_is_well_and_1_for_what_is_not() {
    let (port, backend) = (free_port(), free_port());
    let base = format!("http://127.0.0.1:{backend}");
    let _sample = Running::sample(backend, "a");
    let _proxy = Running::proxy(port, &[("PROXY_BACKENDS", &base)]);
    until("the proxy lives", || get(port, "/healthz"));
    until("the sample lives", || get(backend, "/health"));
    let (own, other) = (port.to_string(), backend.to_string());
    let code = |arguments: &[&str], port: &str| {
        let output = ends(&[&["healthcheck"], arguments].concat(), &[("PROXY_PORT", port)]);
        assert_eq!(text(&output.stderr).lines().count(), usize::from(!output.status.success()));
        output.status.code()
    };
    assert_eq!(code(&[], &own), Some(0));
    assert_eq!(code(&["--port", &other, "--path", "/health"], &own), Some(0));
    assert_eq!(code(&["--port", &other, "--path", "/nothing"], &own), Some(1));
    assert_eq!(code(&[], &free_port().to_string()), Some(1));
}

#[test]
fn status_is_0_while_all_is_well_and_1_when_something_is_wrong() {
    let (port, backend) = (free_port(), free_port());
    let base = format!("http://127.0.0.1:{backend}");
    let sample = Running::sample(backend, "model-a");
    let _proxy = Running::proxy(port, &[("PROXY_BACKENDS", &base)]);
    until_served(port, "model-a");
    let own = port.to_string();
    let settings = [("PROXY_PORT", own.as_str())];
    let output = ends(&["status"], &settings);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("model-a") && said.contains("serves 1 model") && !said.contains('\u{1b}'), "{said}");
    drop(sample);
    let wrong = until("status says what is wrong", || {
        Some(ends(&["status"], &settings)).filter(|output| output.status.code() == Some(1))
    });
    assert!(text(&wrong.stdout).contains("refused"), "{}", text(&wrong.stdout));
    let nobody = free_port().to_string();
    let output = ends(&["status"], &[("PROXY_PORT", &nobody)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("PROXY_PORT"));
}

#[test]
fn doctor_is_0_where_nothing_is_wrong_and_says_what_to_do_where_something_is() {
    let (port, backend) = (free_port(), free_port());
    let base = format!("http://127.0.0.1:{backend}");
    let _sample = Running::sample(backend, "model-a");
    let _proxy = Running::proxy(port, &[("PROXY_BACKENDS", &base)]);
    until_served(port, "model-a");
    let own = port.to_string();
    let well = [("PROXY_PORT", own.as_str()), ("PROXY_BACKENDS", &base), ("PROXY_DOCKER", "off")];
    let output = ends(&["doctor"], &well);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let nobody = free_port().to_string();
    let ill =
        [("PROXY_PORT", nobody.as_str()), ("PROXY_BACKENDS", &base), ("DOCKER_HOST", "unix:///nonexistent/d.sock")];
    let output = ends(&["doctor"], &ill);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["there is no socket at /nonexistent/d.sock", "set DOCKER_HOST", "no proxy answers", &*base] {
        assert!(said.contains(words), "{words}:\n{said}");
    }
    // Without a source that shows its containers, nothing is said of them.
    let blind = [("PROXY_PORT", nobody.as_str()), ("DOCKER_HOST", "unix:///nonexistent/d.sock")];
    let said = text(&ends(&["doctor"], &blind).stdout);
    assert!(said.contains("there is no socket") && !said.contains("No container"), "{said}");
}

#[test]
fn status_can_be_switched_off() {
    let (port, backend) = (free_port(), free_port());
    let base = format!("http://127.0.0.1:{backend}");
    let _proxy = Running::proxy(port, &[("PROXY_BACKENDS", &base), ("PROXY_STATUS", "off")]);
    until("the proxy lives", || get(port, "/healthz"));
    assert!(get(port, "/status").unwrap().starts_with("HTTP/1.1 404"));
    let output = ends(&["status"], &[("PROXY_PORT", &port.to_string())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("PROXY_STATUS=off"));
}

#[test]
fn status_is_a_page_for_browsers_and_json_for_everybody_else_and_only_to_be_read() {
    let (port, backend) = (free_port(), free_port());
    let base = format!("http://127.0.0.1:{backend}");
    let _proxy = Running::proxy(port, &[("PROXY_BACKENDS", &base)]);
    until("the proxy lives", || get(port, "/healthz"));
    let page = ask(port, "GET", "/status", "text/html,application/xhtml+xml,*/*;q=0.8", "").unwrap().to_lowercase();
    for words in ["content-type: text/html", "cache-control: no-store", "default-src 'none'", "<!doctype html>"] {
        assert!(page.contains(words), "{words}:\n{page}");
    }
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("url("));
    let json = get(port, "/status").unwrap();
    assert!(json.contains("content-type: application/json") && json.contains("\"phase\""), "{json}");
    assert!(ask(port, "POST", "/status", "*/*", "{}").unwrap().starts_with("HTTP/1.1 404"));
}

#[test]
fn the_demonstration_says_what_to_try_shows_requests_and_ends_at_ctrl_c() {
    let port = free_port();
    let mut demo = Running::of(program(&["demo"], &[("PROXY_PORT", &port.to_string()), ("PROXY_BIND", "127.0.0.1")]));
    let mut out = demo.stdout();
    // It is there to be pasted: Python takes no indent, and a terminal has 80 columns.
    line(&mut out, |line| {
        assert!(line.trim_end().chars().count() <= 80, "{line}");
        line.starts_with("from openai import OpenAI")
    });
    line(&mut out, |line| line.contains("Ctrl-C"));
    let streamed = chat(port, "sample/small", true);
    assert!(streamed.contains("text/event-stream") && streamed.contains("\"Hello \""), "{streamed}");
    let shown = line(&mut out, |line| line.contains("POST"));
    assert!(shown.starts_with("200 POST /v1/chat/completions") && shown.contains("sample/small"), "{shown}");
    let messages = r#"{"model":"sample/large","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}"#;
    assert!(ask(port, "POST", "/v1/messages", "*/*", messages).unwrap().contains("\"end_turn\""));
    let input = r#"{"model":"sample/large","input":["a","b"]}"#;
    assert!(ask(port, "POST", "/v1/embeddings", "*/*", input).unwrap().contains("\"embedding\""));
    assert!(chat(port, "nobody", false).starts_with("HTTP/1.1 404"));
    demo.signal("INT");
    line(&mut out, |line| line.contains("over"));
    assert_eq!(text(&std::io::read_to_string(demo.stderr()).unwrap().into_bytes()), "");
    assert_eq!(demo.exit_code(), Some(0));
}

#[test]
fn a_sample_server_ends_at_a_signal() {
    let port = free_port();
    let sample = Running::sample(port, "a");
    until("the sample lives", || get(port, "/health"));
    sample.signal("TERM");
    assert_eq!(sample.exit_code(), Some(0));
}
