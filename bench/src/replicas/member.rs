//! The mock members of a pool: prefill one after the other, in a time that grows with what was not cached; decode side by
//! side.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

use super::cache::{BlockCache, blocks};
use crate::backend::{about, read_body, read_head};
use crate::traffic::{LAST_CHUNK, MODELS, STREAM_HEAD, event_chunk, json_answer};

/// How many blocks a member keeps.
pub const CACHE_BLOCKS: usize = 20_000;
/// The time from one event of a stream to the next.
pub const EVENT_GAP: Duration = Duration::from_millis(10);
/// The most events of one stream.
const EVENTS_MAX: u32 = 100;

/// What a member did since it was last emptied.
#[derive(Debug, Default, Clone, Copy)]
pub struct Served {
    /// Requests.
    pub requests: u64,
    /// Blocks of their prompts.
    pub blocks: u64,
    /// Those of them that were cached.
    pub hits: u64,
}

/// The members. They end with the process.
pub struct Members {
    ports: Vec<u16>,
    members: Vec<Arc<Mutex<Member>>>,
    /// How long the prefill of a block takes, in nanoseconds.
    block_nanos: Arc<AtomicU64>,
}

struct Member {
    cache: BlockCache,
    /// When its prefill has done all that it was given.
    idle_from: Instant,
    served: Served,
}

impl Member {
    fn new() -> Self {
        Self { cache: BlockCache::new(CACHE_BLOCKS), idle_from: Instant::now(), served: Served::default() }
    }

    /// Queues a prompt and returns when its prefill ends. Prefill is in order of arrival, so all that comes of it is
    /// known at once.
    fn prefill(&mut self, prompt: &[u64], block_nanos: u64) -> Instant {
        let hits = self.cache.serve(prompt) as u64;
        let blocks = prompt.len() as u64;
        self.served.requests += 1;
        self.served.blocks += blocks;
        self.served.hits += hits;
        let takes = Duration::from_nanos((blocks - hits) * block_nanos);
        self.idle_from = self.idle_from.max(Instant::now()) + takes;
        self.idle_from
    }
}

impl Members {
    /// Starts them on free ports of the loopback, on a thread of their own.
    ///
    /// # Errors
    /// The system gives no ports or no thread.
    pub fn start(count: usize) -> io::Result<Self> {
        let listeners: Vec<_> =
            (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
        let ports = listeners.iter().map(|one| Ok(one.local_addr()?.port())).collect::<io::Result<_>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let block_nanos = Arc::new(AtomicU64::new(0));
        let members: Vec<_> = (0..count).map(|_| Arc::new(Mutex::new(Member::new()))).collect();
        let serving: Vec<_> = listeners.into_iter().zip(members.clone()).collect();
        let nanos = Arc::clone(&block_nanos);
        std::thread::Builder::new().name("members".into()).spawn(move || {
            runtime.block_on(async move {
                let mut accepting = tokio::task::JoinSet::new();
                for (listener, member) in serving {
                    accepting.spawn(accept(listener, member, Arc::clone(&nanos)));
                }
                while let Some(ended) = accepting.join_next().await {
                    eprintln!("bench: a mock member ended: {ended:?}");
                }
            });
        })?;
        Ok(Self { ports, members, block_nanos })
    }

    /// Their ports.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Empties them: nothing cached, nothing counted. From here on the prefill of a block takes so long.
    pub fn empty(&self, block_nanos: u64) {
        self.block_nanos.store(block_nanos, Ordering::Relaxed);
        for member in &self.members {
            *member.lock().unwrap_or_else(PoisonError::into_inner) = Member::new();
        }
    }

    /// What each of them did.
    pub fn served(&self) -> Vec<Served> {
        self.members.iter().map(|member| member.lock().unwrap_or_else(PoisonError::into_inner).served).collect()
    }
}

async fn accept(
    listener: std::net::TcpListener,
    member: Arc<Mutex<Member>>,
    block_nanos: Arc<AtomicU64>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (socket, _) = listener.accept().await?;
        let (member, block_nanos) = (Arc::clone(&member), Arc::clone(&block_nanos));
        // How a connection ends is seen at its other end.
        tokio::spawn(async move { serve(socket, &member, &block_nanos).await });
    }
}

async fn serve(mut socket: TcpStream, member: &Mutex<Member>, block_nanos: &AtomicU64) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    while let Some(head_bytes) = read_head(&mut socket, &mut buffer).await? {
        let head = String::from_utf8_lossy(buffer.get(..head_bytes).unwrap_or_default()).to_ascii_lowercase();
        buffer.drain(..head_bytes);
        let body = read_body(&mut socket, &mut buffer, &head).await?;
        if head.starts_with("get ") {
            socket.write_all(&json_answer(&about(&head, MODELS[0]))).await?;
            continue;
        }
        let prompt = blocks(messages(&body));
        let nanos = block_nanos.load(Ordering::Relaxed);
        let mut next = member.lock().unwrap_or_else(PoisonError::into_inner).prefill(&prompt, nanos);
        sleep_until(next).await;
        // Engines send the head of a stream with its first event, or shortly before.
        socket.write_all(&[STREAM_HEAD, &event_chunk()].concat()).await?;
        for _ in 1..max_tokens(&body) {
            next += EVENT_GAP;
            sleep_until(next).await;
            socket.write_all(&event_chunk()).await?;
        }
        socket.write_all(LAST_CHUNK).await?;
    }
    Ok(())
}

/// The raw text of the messages; the bench writes no bracket into them.
fn messages(body: &[u8]) -> &[u8] {
    const NAME: &[u8] = b"\"messages\":[";
    let from = body.windows(NAME.len()).position(|window| window == NAME).map_or(body.len(), |at| at + NAME.len());
    let rest = body.get(from..).unwrap_or_default();
    rest.get(..rest.iter().position(|byte| *byte == b']').unwrap_or(rest.len())).unwrap_or_default()
}

/// How many tokens a request asks for, under either name: routers rename it.
fn max_tokens(body: &[u8]) -> u32 {
    let value = |name: &str| {
        let at = body.windows(name.len()).rposition(|window| window == name.as_bytes())?;
        let digits = body.get(at + name.len()..)?.iter().take_while(|byte| byte.is_ascii_digit()).take(3);
        Some(digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    };
    let found = value("\"max_tokens\":").or_else(|| value("\"max_completion_tokens\":"));
    found.unwrap_or(1).clamp(1, EVENTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_and_as_routers_rewrite_them() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":7,"stream":true}"#;
        assert_eq!(messages(body), br#"{"role":"user","content":"hi"}"#);
        assert_eq!(max_tokens(body), 7);
        assert_eq!(max_tokens(br#"{"max_completion_tokens":12,"skip_special_tokens":true}"#), 12);
        assert_eq!((max_tokens(b"{}"), messages(b"{}")), (1, &b""[..]));
    }
}
