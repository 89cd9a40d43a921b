//! The proxy makes the requests that the least-privilege example allows, needs all of them, and makes no other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use engine_tests::{Engine, Mock, ProxyProcess, repository, require_engine};
use lw_inference_proxy::adapters::docker::{Address, DockerSettings};
use regex::Regex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;

/// The longest head of a request that the filter reads.
const HEAD_MAX_BYTES: usize = 64 * 1024;
const REFUSAL: &[u8] = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The paths that the example opens to GET. It opens nothing to any other method.
fn allowed() -> Regex {
    let file = repository().join("examples/socket-proxy/compose.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let arguments = text.lines().filter_map(|line| line.trim().strip_prefix("- -allow"));
    let lists: Vec<_> = arguments.filter(|argument| !argument.starts_with("from=")).collect();
    let [list] = lists.as_slice() else { panic!("one list, for GET: {lists:?}") };
    let pattern = list.strip_prefix("GET=").expect("the list is for GET");
    Regex::new(&format!("^({pattern})$")).unwrap()
}

/// What the filter was asked for: method and path, ids replaced by `<id>`.
type Asked = Arc<Mutex<BTreeSet<String>>>;

/// A socket in front of the engine that lets through what is on the list, and answers 403 to the rest.
struct Filter {
    socket: PathBuf,
    passed: Asked,
    refused: Asked,
    _running: JoinSet<()>,
}

impl Filter {
    fn start(engine: &Engine, allowed: Regex) -> Self {
        let socket = std::env::temp_dir().join(format!("{}.sock", engine.unique("filter")));
        let listener = UnixListener::bind(&socket).unwrap();
        let settings = DockerSettings::from_lookup(|name| std::env::var(name).ok()).unwrap();
        let address = settings.address().unwrap();
        let (passed, refused) = (Asked::default(), Asked::default());
        let mut running = JoinSet::new();
        let (to_passed, to_refused) = (Arc::clone(&passed), Arc::clone(&refused));
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let (address, allowed) = (address.clone(), allowed.clone());
                let (passed, refused) = (Arc::clone(&to_passed), Arc::clone(&to_refused));
                connections.spawn(async move {
                    let head = read_head(&mut client).await;
                    let (method, path) = request_line(&head);
                    let good = method == "GET" && allowed.is_match(&path);
                    let asked = if good { passed } else { refused };
                    asked.lock().unwrap().insert(format!("{method} {}", without_id(&path)));
                    match good {
                        true => carry(client, &address, &head).await,
                        false => client.write_all(REFUSAL).await.unwrap(),
                    }
                });
            }
        });
        Self { socket, passed, refused, _running: running }
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn read_head(client: &mut UnixStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX_BYTES {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    head
}

/// Method and path, without the query.
fn request_line(head: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(head);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    (method.to_owned(), target.split('?').next().unwrap_or_default().to_owned())
}

fn without_id(path: &str) -> String {
    Regex::new("/[0-9a-f]{64}").unwrap().replace(path, "/<id>").into_owned()
}

/// One request for each connection: the engine is told to close, so nothing slips through behind the first head.
async fn carry(client: UnixStream, address: &Address, head: &[u8]) {
    async fn between(mut client: UnixStream, mut engine: impl AsyncRead + AsyncWrite + Unpin, head: &[u8]) {
        let rest = &head[..head.len() - 2];
        engine.write_all(&[rest, b"connection: close\r\n\r\n"].concat()).await.unwrap();
        let (mut from_client, mut to_client) = client.split();
        let mut nowhere = tokio::io::sink();
        tokio::select! {
            _ = tokio::io::copy(&mut engine, &mut to_client) => {}
            // What comes after the head goes nowhere; the end of the client's side ends the exchange.
            _ = tokio::io::copy(&mut from_client, &mut nowhere) => {}
        }
    }
    match address {
        Address::Unix(path) => between(client, UnixStream::connect(path).await.unwrap(), head).await,
        Address::Tcp(host) => between(client, TcpStream::connect(host).await.unwrap(), head).await,
        Address::Tls(host) => panic!("the filter before {host} speaks no TLS"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_comes_is_routed_and_stops_behind_a_filter_that_refuses_all_else() {
    let engine = require_engine!();
    let filter = Filter::start(&engine, allowed());
    let host = format!("unix://{}", filter.socket.display());
    let proxy = ProxyProcess::builder().env("DOCKER_HOST", host).start().await;
    let model = engine.unique("filtered");
    let mock = Mock::serving("filtered", &[&model]).start_healthy(&engine).await;
    proxy.until_answered_by(&model, mock.name()).await;
    mock.stop(None).await;
    proxy.until_unlisted(&model).await;

    let none = BTreeSet::new();
    assert_eq!(*filter.refused.lock().unwrap(), none, "the example must allow what the proxy asks for");
    let used = filter.passed.lock().unwrap().clone();
    let all = ["/_ping", "/containers/<id>/json", "/containers/json", "/events", "/version"];
    assert_eq!(used, all.map(|path| format!("GET {path}")).into(), "the example allows no more than is used");
}

#[test]
fn the_list_opens_nothing_that_tells_or_changes_more() {
    let (allowed, id) = (allowed(), "0123456789abcdef".repeat(4));
    for path in ["/_ping", "/version", "/events", "/containers/json", &format!("/containers/{id}/json")] {
        assert!(allowed.is_match(path), "{path}");
    }
    for path in ["/info", "/images/json", "/networks", "/secrets", "/containers/create", "/containers/some-name/json"] {
        assert!(!allowed.is_match(path), "{path}");
    }
    for rest in ["logs", "export", "archive", "top", "changes", "stats", "attach/ws", "json/", "../json", "json/logs"] {
        let path = format!("/containers/{id}/{rest}");
        assert!(!allowed.is_match(&path), "{path}");
    }
}
