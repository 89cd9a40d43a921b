//! The corpus: raw requests and raw responses, each with what must become of it. Every case is a file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write as _;
use std::sync::Arc;

use support::corpus_case::Case;
use support::dice::Dice;
use support::http_stage::Stage;
use support::raw_backend::{RawBackend, RawRequest};
use support::raw_client::{End, RawAnswer, RawClient, get};
use tokio::task::JoinSet;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What was wrong with a case.
type Wrong = String;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_03_the_corpus_of_requests() {
    judge("requests", request_case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_04_the_corpus_of_responses() {
    judge("responses", response_case).await;
}

/// Runs every case at the same time, and reports all that failed at once.
async fn judge<F: Future<Output = Result<(), Wrong>> + Send + 'static>(folder: &str, run: fn(Arc<Case>) -> F) {
    let started = std::time::Instant::now();
    let mut cases = JoinSet::new();
    for case in Case::all(folder) {
        let case = Arc::new(case);
        cases.spawn(async move {
            let judged = tokio::spawn(run(Arc::clone(&case))).await;
            (case, judged.unwrap_or_else(|error| Err(error.to_string())))
        });
    }
    let (mut failed, mut count) = (String::new(), 0);
    while let Some(judged) = cases.join_next().await {
        let (case, result) = judged.unwrap();
        count += 1;
        if let Err(wrong) = result {
            writeln!(failed, "{}: {wrong} ({})", case.name, case.field("why").unwrap()).unwrap();
        }
    }
    println!("{folder}: {count} cases in {} ms", started.elapsed().as_millis());
    assert!(failed.is_empty(), "\n{failed}");
}

/// Sends a request's bytes, and reads answers until there are as many as expected, or no more.
async fn answers(client: &mut RawClient, case: &Case) -> Vec<RawAnswer> {
    let most = case.field("status").unwrap().split('|').map(|one| one.split(' ').count()).max().unwrap();
    let mut answers = Vec::new();
    while answers.len() < most {
        match client.answer().await {
            Some(answer) => answers.push(answer),
            None => break,
        }
        if answers.len() < most && case.allows("status", &statuses(&answers)) {
            break;
        }
    }
    answers
}

fn statuses(answers: &[RawAnswer]) -> String {
    let each: Vec<_> = answers.iter().map(|answer| answer.status.to_string()).collect();
    if each.is_empty() { "none".to_owned() } else { each.join(" ") }
}

async fn request_case(case: Arc<Case>) -> Result<(), Wrong> {
    let backend = RawBackend::answering(OK).await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    // What is refused early may be closed before all of it was sent.
    let _ = client.try_send(&case.bytes).await;
    if case.says("half_close") {
        tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
    }
    let answers = answers(&mut client, &case).await;
    let found = statuses(&answers);
    expect(case.allows("status", &found), || format!("answered {found}: {answers:?}"))?;
    let ended = how_it_ended(&mut client, answers.last(), !case.says("closed")).await;
    expect((ended == "kept") != case.says("closed"), || format!("the connection was {ended}"))?;
    came(&case, "came", answers.last(), ended)?;
    let seen = backend.requests();
    expect(case.allows("backend", &seen.len().to_string()), || format!("the backend saw {seen:?}"))?;
    match seen.first() {
        Some(request) => passed_on(&case, request),
        None => Ok(()),
    }
}

/// What became of a connection behind an answer. One that should be kept is asked for more.
async fn how_it_ended(client: &mut RawClient, answer: Option<&RawAnswer>, should_stay: bool) -> &'static str {
    let until_close = answer.is_some_and(|answer| framing(answer) == "close");
    let ended = match answer.map(|answer| answer.end) {
        Some(End::Complete) if until_close => End::Fin,
        Some(end @ (End::Fin | End::Reset)) => end,
        _ if should_stay && client.still_open().await => return "kept",
        _ => client.ended().await,
    };
    if ended == End::Reset { "reset" } else { "fin" }
}

/// What tells where an answer ends.
fn framing(answer: &RawAnswer) -> &'static str {
    let names = ["transfer-encoding", "content-length"];
    match names.map(|name| answer.header(name).is_some()) {
        _ if matches!(answer.status, 100 | 101 | 204 | 304) => "none",
        [true, _] => "chunked",
        [_, true] => "length",
        [false, false] => "close",
    }
}

/// Whether the version, the framing and the end of the connection are those of the case: `came: HTTP/1.1 length kept`.
/// With `CORPUS_WRITE` set, what was seen is noted in the file, for somebody to read the difference.
fn came(case: &Case, field: &str, answer: Option<&RawAnswer>, ended: &str) -> Result<(), Wrong> {
    let version = answer.map_or("nothing", |answer| answer.head.split(' ').next().unwrap_or_default());
    let seen = format!("{version} {} {ended}", answer.map_or("none", framing));
    if case.allows(field, &seen) {
        return Ok(());
    }
    if is_set("CORPUS_WRITE") {
        case.note(field, &seen);
        return Ok(());
    }
    Err(format!("{field}: {seen}, and not {:?}: {answer:?}", case.field(field)))
}

#[allow(clippy::disallowed_methods, reason = "how the test is run is not a setting of the proxy")]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// Whether the first request stood on the wire as the case says.
fn passed_on(case: &Case, request: &RawRequest) -> Result<(), Wrong> {
    let lines: Vec<_> = request.headers().iter().map(|line| line.trim().to_ascii_lowercase()).collect();
    let named = |name: &str| lines.iter().filter(|line| line.split(':').next() == Some(name)).count();
    let wrong = || format!("went on as {request:?}");
    expect(case.field("line").is_none_or(|line| request.line() == line), wrong)?;
    for header in case.each("has") {
        expect(lines.iter().any(|line| line == header), || format!("no {header}: {lines:?}"))?;
    }
    for name in case.each("lacks") {
        expect(named(name) == 0, || format!("{name} went on: {lines:?}"))?;
    }
    for name in case.each("once") {
        expect(named(name) == 1, || format!("{name} went on {} times", named(name)))?;
    }
    expect(named("transfer-encoding") + named("content-length") <= 1, || format!("framed twice: {lines:?}"))?;
    expect(case.field("body").is_none_or(|body| request.body == body.as_bytes()), wrong)?;
    expect(case.field("trailers").is_none_or(|t| request.trailers.trim_end() == t), || {
        format!("trailers {:?}", request.trailers)
    })
}

async fn response_case(case: Arc<Case>) -> Result<(), Wrong> {
    let script = Arc::clone(&case);
    let backend = RawBackend::start(move |mut peer| {
        let case = Arc::clone(&script);
        async move {
            while let Ok(request) = peer.request().await {
                // Whether the connection is used again is asked with a request that is answered well.
                if request.line().contains("next") {
                    peer.send(OK).await?;
                    continue;
                }
                peer.send(&case.bytes).await?;
                match case.field("then") {
                    Some("close") => return Ok(()),
                    Some("reset") => return peer.reset(),
                    _ => {}
                }
            }
            Ok(())
        }
    })
    .await;
    let stage = Stage::before(backend.address()).await;
    let mut client = stage.client().await;
    let answer = client.ask(get("/v1/first?model=m")).await;
    let ended = how_it_ended(&mut client, Some(&answer), true).await;
    came(&case, "came", Some(&answer), ended)?;
    expect(case.allows("status", &answer.status.to_string()), || format!("answered {answer:?}"))?;
    expect((answer.end != End::Complete) == case.says("broken"), || format!("ended otherwise: {answer:?}"))?;
    let wrong = || format!("answered {answer:?}");
    expect(case.field("body").is_none_or(|body| answer.body == body.as_bytes()), wrong)?;
    for header in case.each("has") {
        let (name, value) = header.split_once(": ").unwrap();
        expect(answer.headers(name).contains(&value), || format!("no {header}: {answer:?}"))?;
    }
    for name in case.each("lacks") {
        expect(answer.header(name).is_none(), || format!("{name} was passed on: {answer:?}"))?;
    }
    for name in case.each("once") {
        expect(answer.headers(name).len() == 1, wrong)?;
    }
    let next = stage.ask(get("/v1/next?model=m")).await;
    expect(next.status == 200 && next.body == b"ok", || format!("the next request got {next:?}"))?;
    let reused = if backend.connections() == 1 { "yes" } else { "no" };
    expect(case.field("reused").is_none_or(|expected| expected == reused), || format!("reused: {reused}"))?;
    let mut old = stage.client().await;
    let answer = old.ask("GET /v1/first?model=m HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n").await;
    let ended = how_it_ended(&mut old, Some(&answer), true).await;
    came(&case, "came-in-1.0", Some(&answer), ended)
}

fn expect(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(wrong()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_05_segments_change_nothing() {
    const SPLITS: usize = 10;
    let mut cases = JoinSet::new();
    let good = Case::all("requests").into_iter().filter(|case| case.field("status") == Some("200"));
    let good: Vec<_> = good.filter(|case| case.bytes.len() < 4096).collect();
    let count = good.len();
    for (number, case) in good.into_iter().enumerate() {
        cases.spawn(async move {
            let backend = RawBackend::answering(OK).await;
            let stage = Stage::before(backend.address()).await;
            let mut dice = Dice::new(number as u64);
            for split in 0..=SPLITS {
                let mut client = stage.client().await;
                let mut rest = case.bytes.as_slice();
                while !rest.is_empty() {
                    let size = if split == 0 { rest.len() } else { 1 + dice.place(rest.len().min(40)).unwrap() };
                    let (segment, behind) = rest.split_at(size);
                    client.send(segment).await;
                    tokio::task::yield_now().await;
                    rest = behind;
                }
                assert_eq!(client.answer().await.unwrap().status, 200, "{}", case.name);
            }
            let seen = backend.requests();
            let whole = &seen[0];
            assert_eq!(seen.len(), SPLITS + 1, "{}", case.name);
            // Each request has an id of its own.
            let head = |request: &RawRequest| -> Vec<String> {
                let lines = request.head.lines().filter(|line| !line.starts_with("x-request-id:"));
                lines.map(str::to_owned).collect()
            };
            for cut in &seen {
                let (a, b) = ((head(cut), &cut.body, &cut.trailers), (head(whole), &whole.body, &whole.trailers));
                assert_eq!(a, b, "{}", case.name);
            }
        });
    }
    while let Some(done) = cases.join_next().await {
        done.unwrap();
    }
    println!("rule 5: {count} requests, each cut {SPLITS} ways");
}
