//! Memory: what connections, streams, stalled readers and uploads cost. Figures are of the binary that tests build.

use std::io::Write;
use std::time::Duration;

use super::support::proxy_process::ProxyProcess;
use super::support::raw_backend::{Signal, soon};
use super::support::raw_client::{RawClient, get, post};
use super::{MODEL, OK, holding, serving};

/// What each of `count` connections costs the proxy once `begin` has been done on it. Others come `first`: they pay for
/// what all share.
async fn cost(
    what: &str,
    proxy: &ProxyProcess,
    (first, count): (usize, usize),
    limit: i64,
    begin: impl AsyncFn(&mut RawClient),
) {
    let mut clients = Vec::new();
    open(proxy, &mut clients, first, &begin).await;
    let before = proxy.settled_kib().await;
    open(proxy, &mut clients, count, &begin).await;
    let after = proxy.settled_kib().await;
    let each = (after - before) / i64::try_from(count).unwrap();
    println!("rule 16: {what}: {each} KiB each ({count}, {before} KiB before, {after} KiB after; limit {limit} KiB)");
    assert!(each <= limit, "{what}: {each} KiB each");
}

async fn open(proxy: &ProxyProcess, clients: &mut Vec<RawClient>, count: usize, begin: &impl AsyncFn(&mut RawClient)) {
    for _ in 0..count {
        let mut client = proxy.client().await;
        begin(&mut client).await;
        clients.push(client);
    }
}

/// Sends a request and reads the head of its answer.
async fn ask_for_head(client: &mut RawClient) {
    client.send(post("/v1/x", MODEL)).await;
    client.head().await.unwrap();
}

/// The descriptors that these tests need.
fn raise() {
    rlimit::increase_nofile_limit(65_536).unwrap();
}

#[tokio::test]
async fn rule_16_idle_connections_cost_at_most_16_kib() {
    raise();
    let backend = serving(|mut peer, _| async move { peer.send(OK).await }).await;
    let proxy = ProxyProcess::start(&[backend.address()], &[]).await;
    cost("idle connections", &proxy, (100, 1000), 16, async |client| {
        assert_eq!(client.ask(get("/healthz")).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn rule_16_open_streams_cost_at_most_40_kib() {
    raise();
    let end = Signal::new();
    let backend = holding(&end).await;
    let proxy = ProxyProcess::start(&[backend.address()], &[]).await;
    cost("open streams", &proxy, (100, 800), 40, async |client| {
        ask_for_head(client).await;
        client.next_chunk().await.unwrap();
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "jemalloc"), ignore = "the system's allocator keeps it")]
async fn rule_16_what_a_crowd_took_goes_back_to_the_system() {
    raise();
    let end = Signal::new();
    let backend = holding(&end).await;
    let proxy = ProxyProcess::start(&[backend.address()], &[]).await;
    let (mut clients, before) = (Vec::new(), proxy.settled_kib().await);
    open(&proxy, &mut clients, 800, &ask_for_head).await;
    let took = proxy.settled_kib().await - before;
    assert!(took > 800, "800 streams took {took} KiB: there is nothing to give back");
    drop(clients);
    let keeps = proxy.gives_back(before, took).await;
    println!("rule 16: 800 streams took {took} KiB, of which {keeps} KiB are kept");
}

#[tokio::test]
async fn rule_16_stalled_readers_cost_at_most_64_kib() {
    raise();
    let backend = serving(|mut peer, head| async move {
        peer.rest(head).await?;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await?;
        peer.flood(Duration::from_secs(30)).await.map(drop)
    })
    .await;
    let proxy = ProxyProcess::start(&[backend.address()], &[]).await;
    cost("stalled readers", &proxy, (50, 200), 64, ask_for_head).await;
}

#[tokio::test]
async fn rule_16_uploads_into_a_backend_that_does_not_read_cost_under_50_mib_together() {
    raise();
    let backend = serving(|peer, head| async move {
        std::future::pending::<()>().await;
        drop((peer, head));
        Ok(())
    })
    .await;
    let proxy = ProxyProcess::start(&[backend.address()], &[]).await;
    let before = proxy.settled_kib().await;
    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut client = proxy.client().await;
        uploads.spawn(async move {
            let head = "POST /v1/x HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\n{\"model\":\"m\",\"x\":\"";
            client.send(head).await;
            let (block, mut sent) = ([b'x'; 65536], 0);
            let pause = Duration::from_millis(500);
            while let Ok(written) =
                tokio::time::timeout(pause, tokio::io::AsyncWriteExt::write(&mut client.stream, &block)).await
            {
                sent += written.unwrap();
            }
            (client, sent)
        });
    }
    let (mut clients, mut sent) = (Vec::new(), 0);
    while let Some(done) = soon("an upload to stand still", uploads.join_next()).await {
        let (client, bytes) = done.unwrap();
        clients.push(client);
        sent += bytes;
    }
    let after = proxy.settled_kib().await;
    println!(
        "rule 16: 100 uploads of 100 MB stood still after {} MiB together (kernel buffers); memory grew by {} KiB",
        sent >> 20,
        after - before
    );
    assert!(after - before < 50 << 10, "{} KiB", after - before);
}

/// What requests hold together in the tests of the bound, and what each connection may cost beside that.
const HELD_TOTAL_KIB: i64 = 8 << 10;
const EACH_KIB: i64 = 200;
/// What decoders that were refused may have taken and not yet given back.
const IN_BETWEEN_KIB: i64 = 12 << 10;
const BODIES: usize = 40;

/// Memory grows by no more than the bound when many connections send the beginning of a body and then nothing more.
async fn is_bounded(what: &str, headers: &str, segments: impl Fn() -> Vec<Vec<u8>>) {
    let backend = serving(|mut peer, _| async move { peer.send(OK).await }).await;
    let proxy = ProxyProcess::start(&[backend.address()], &[("PROXY_MAX_BUFFERED_TOTAL", "8MiB")]).await;
    let segments = segments();
    let before = proxy.settled_kib().await;
    let mut clients = Vec::new();
    for _ in 0..BODIES {
        let mut client = proxy.client().await;
        client.send(format!("POST /v1/x HTTP/1.1\r\nhost: a\r\n{headers}content-length: 100000000\r\n\r\n")).await;
        clients.push(client);
    }
    // One after the other, so that each segment is read by itself. Who was refused sends no more.
    let mut open: Vec<usize> = (0..BODIES).collect();
    for segment in &segments {
        for number in std::mem::take(&mut open) {
            if clients[number].try_send(segment).await.is_ok() {
                open.push(number);
            }
        }
    }
    let refused = BODIES - open.len();
    let after = proxy.settled_kib().await;
    let limit = HELD_TOTAL_KIB + IN_BETWEEN_KIB + EACH_KIB * i64::try_from(BODIES).unwrap();
    println!("{what}: {BODIES} bodies grow memory by {} KiB, {refused} refused early; limit {limit}", after - before);
    assert!(after - before <= limit, "{what}: {} KiB", after - before);
    let mut one = proxy.client().await;
    assert_eq!(one.ask(get("/healthz")).await.status, 200);
}

/// The beginning of a body that never names its model.
fn unfinished(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let letters = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'A' + (state >> 28) as u8
    });
    b"{\"x\":\"".iter().copied().chain(letters).take(length).collect()
}

/// In segments of this size.
fn cut(body: &[u8], size: usize) -> Vec<Vec<u8>> {
    body.chunks(size).map(<[u8]>::to_vec).collect()
}

#[tokio::test]
async fn bodies_in_large_segments_are_held_within_the_bound() {
    is_bounded("plain, large segments", "", || cut(&unfinished(1 << 20), 64 << 10)).await;
}

#[tokio::test]
async fn bodies_in_segments_of_a_network_are_held_within_the_bound() {
    is_bounded("plain, segments of 1,448 bytes", "", || cut(&unfinished(1 << 20), 1448)).await;
}

#[tokio::test]
async fn bodies_in_tiny_segments_are_held_within_the_bound() {
    is_bounded("plain, segments of one byte", "", || cut(&unfinished(1000), 1)).await;
}

#[tokio::test]
async fn forms_are_held_within_the_bound() {
    let file = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let form = || [file.as_bytes(), &unfinished(1 << 20)].concat();
    is_bounded("forms", "content-type: multipart/form-data; boundary=b\r\n", || cut(&form(), 1448)).await;
}

#[tokio::test]
async fn gzip_is_decoded_within_the_bound() {
    let body = || {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(b"{\"x\":\"").unwrap();
        gzip.write_all(&vec![b'a'; 30 << 20]).unwrap();
        gzip.flush().unwrap();
        vec![gzip.get_ref().clone()]
    };
    is_bounded("gzip", "content-encoding: gzip\r\n", body).await;
}

#[tokio::test]
async fn deflate_is_decoded_within_the_bound() {
    let body = || {
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        deflate.write_all(b"{\"x\":\"").unwrap();
        deflate.write_all(&vec![b'a'; 30 << 20]).unwrap();
        deflate.flush().unwrap();
        vec![deflate.get_ref().clone()]
    };
    is_bounded("deflate", "content-encoding: deflate\r\n", body).await;
}

#[tokio::test]
async fn brotli_is_decoded_within_the_bound() {
    let body = || {
        let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 9, 24);
        brotli.write_all(b"{\"x\":\"").unwrap();
        brotli.write_all(&vec![b'a'; 30 << 20]).unwrap();
        brotli.flush().unwrap();
        vec![brotli.get_ref().clone()]
    };
    is_bounded("brotli", "content-encoding: br\r\n", body).await;
}

#[tokio::test]
async fn zstd_is_decoded_within_the_bound() {
    let body = || {
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        zstd.window_log(23).unwrap();
        zstd.write_all(b"{\"x\":\"").unwrap();
        zstd.write_all(&vec![b'a'; 30 << 20]).unwrap();
        zstd.flush().unwrap();
        vec![zstd.get_ref().clone()]
    };
    is_bounded("zstd", "content-encoding: zstd\r\n", body).await;
}
