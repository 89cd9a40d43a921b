//! The scripted servers: each plays the backend's part of a visit, and closes its connections in its own way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::bytes;
use super::plan::{Begins, Body, Ending, How, RequestTracker, Server};
use super::play::{Arrived, NOTICED, Play, Registry, Step};
use super::support::dice::Dice;
use super::support::raw_backend::{Peer, RawBackend};
use super::{lasting, tunnel};

/// The longest time between a response and a close that no header announced, in milliseconds.
const CLOSES_WITHIN_MS: u64 = 12;
/// The body of a response behind which a connection may be reset without a word is smaller than that.
const RESETS_BELOW: usize = 2000;

/// What they may be asked to play.
#[derive(Clone, Default)]
pub struct Scripts {
    pub plays: Registry<Play>,
    pub tunnels: Registry<tunnel::Play>,
}

/// What becomes of a connection after an exchange.
enum Then {
    Keep,
    Close,
    /// After a moment, without a word.
    CloseSoon(u64, How),
    Break(How),
}

async fn serve(mut peer: Peer, server: Server, scripts: Scripts) -> io::Result<()> {
    loop {
        let head = peer.head_unrecorded().await?;
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if target == "/v1/models" {
            list(&mut peer, server).await?;
            if server.is_old() {
                return Ok(());
            }
            continue;
        }
        if target.starts_with("/v1/silent") {
            lasting::be_silent(&mut peer).await?;
            continue;
        }
        if let Some((play, _)) = scripts.tunnels.find(&target, "/v1/tunnel/") {
            return play.serve(peer).await;
        }
        let Some((play, at)) = scripts.plays.find(&target, "/v1/play/") else {
            peer.send("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await?;
            continue;
        };
        let mut arrived = Arrived::default();
        let played = exchange(&mut peer, server, &play, at, &head, &mut arrived).await;
        play.log.note(format_args!("backend: exchange {at} over, {arrived:?}"));
        play.steps[at].arrive(arrived);
        match played? {
            Then::Keep => {}
            Then::Close => return Ok(()),
            Then::CloseSoon(milliseconds, how) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                return if how == How::Reset { peer.reset() } else { Ok(()) };
            }
            Then::Break(How::Fin) => return Ok(()),
            Then::Break(How::Reset) => return peer.reset(),
        }
    }
}

async fn list(peer: &mut Peer, server: Server) -> io::Result<()> {
    let list = format!(r#"{{"object":"list","data":[{{"id":"{}","object":"model"}}]}}"#, server.model());
    let version = if server.is_old() { "HTTP/1.0" } else { "HTTP/1.1" };
    peer.send(format!("{version} 200 OK\r\ncontent-length: {}\r\n\r\n{list}", list.len())).await
}

/// Reads a request and answers it as planned.
async fn exchange(
    peer: &mut Peer,
    server: Server,
    play: &Play,
    at: usize,
    head: &str,
    arrived: &mut Arrived,
) -> io::Result<Then> {
    let (step, plan) = (&play.steps[at], &play.visit.exchanges[at]);
    play.log.note(format_args!("backend: head of {at}, {:?}", head.lines().next().unwrap_or_default()));
    step.heads.send_modify(|count| *count += 1);
    if plan.response.sends_continue {
        peer.send("HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    if plan.response.begins == Begins::Behind {
        read_body(peer, step, head, arrived).await?;
    }
    let reply = Reply::of(server, plan, head);
    let then = reply.send(peer, play, at, arrived).await?;
    match plan.response.begins {
        Begins::EarlyThenReads => read_body(peer, step, head, arrived).await?,
        Begins::EarlyThenCloses => return Ok(Then::Close),
        Begins::Behind => {}
    }
    Ok(then)
}

async fn read_body(peer: &mut Peer, step: &Step, head: &str, arrived: &mut Arrived) -> io::Result<()> {
    let (body, trailers) = peer.body(head).await?;
    arrived.is_right = Some(body == step.request_body);
    arrived.trailers = trailers == bytes::TRAILER;
    step.wholes.send_modify(|count| *count += 1);
    Ok(())
}

/// A planned response, as this server says it to this request.
struct Reply<'a> {
    server: Server,
    plan: &'a RequestTracker,
    body: Body,
    is_bodiless: bool,
    /// Whether a header tells the client that the connection ends, or stays.
    connection: Option<&'static str>,
}

impl<'a> Reply<'a> {
    fn of(server: Server, plan: &'a RequestTracker, head: &str) -> Self {
        let lower = head.to_ascii_lowercase();
        let is_10 = lower.lines().next().unwrap_or_default().ends_with("http/1.0");
        let asks_to_keep = lower.contains("\r\nconnection: keep-alive\r\n");
        let asks_to_close = lower.contains("\r\nconnection: close\r\n") || (is_10 && !asks_to_keep);
        let body = match plan.response.body {
            Body::Chunked { letters, .. } if is_10 => Body::UntilClose(letters),
            body => body,
        };
        let is_bodiless = head.starts_with("HEAD ") || matches!(plan.response.status, 204 | 304);
        let has_length = is_bodiless || matches!(body, Body::Length(_) | Body::None);
        let connection = match server {
            Server::Old => None,
            Server::OldKeeps => (has_length && !asks_to_close).then_some("keep-alive"),
            _ if asks_to_close => Some("close"),
            _ if is_10 && has_length => Some("keep-alive"),
            _ => None,
        };
        Self { server, plan, body, is_bodiless, connection }
    }

    async fn send(&self, peer: &mut Peer, play: &Play, at: usize, arrived: &mut Arrived) -> io::Result<Then> {
        let step = &play.steps[at];
        let response = &self.plan.response;
        let own = super::plan::Response { body: self.body, ..response.clone() };
        let head = bytes::response_head(&own, self.server.is_old(), step.response_body.len(), self.connection);
        match response.ending {
            Ending::Complete => {
                let mut whole = head.into_bytes();
                if !self.is_bodiless {
                    whole.extend(bytes::framed(self.body, &step.response_body, step.seed));
                }
                self.write(peer, &whole, step.seed).await?;
                let then = self.then(step.seed);
                if matches!(then, Then::CloseSoon(_, How::Reset)) {
                    // A reset takes along what the other end has not read yet, and that would cut the response.
                    let body = if self.is_bodiless { 0 } else { step.response_body.len() };
                    step.has_read_or_left(1 + body).await;
                }
                Ok(then)
            }
            Ending::BrokenInHead(count, how) => {
                peer.send(&head.as_bytes()[..count.min(head.len() - 4)]).await?;
                Ok(Then::Break(how))
            }
            Ending::BrokenAt(count, how) => {
                self.begin(peer, head, count, step).await?;
                arrived.was_held_back = !step.has_read_or_left(1 + count).await;
                Ok(Then::Break(how))
            }
            Ending::WaitsAt(count) => {
                if let Some(count) = count {
                    self.begin(peer, head, count, step).await?;
                }
                let ended = tokio::time::timeout(super::play::STEP + NOTICED, async {
                    let mut done = step.client_is_done.subscribe();
                    let _ = done.wait_for(|done| *done).await;
                    tokio::time::timeout(NOTICED, async { while peer.some().await.is_ok() {} }).await.is_ok()
                });
                arrived.saw_the_end = Some(ended.await.unwrap_or(false));
                Ok(Then::Close)
            }
        }
    }

    /// Sends the head and so many bytes of the body, in the framing of all of it.
    async fn begin(&self, peer: &mut Peer, head: String, count: usize, step: &Step) -> io::Result<()> {
        let part = &step.response_body[..count.min(step.response_body.len())];
        let mut begun = head.into_bytes();
        match self.body {
            _ if self.is_bodiless => {}
            Body::Chunked { most, .. } => begun.extend(bytes::chunks(part, most, step.seed)),
            _ => begun.extend_from_slice(part),
        }
        self.write(peer, &begun, step.seed).await
    }

    async fn write(&self, peer: &mut Peer, mut rest: &[u8], seed: u64) -> io::Result<()> {
        for (size, pause) in bytes::segments(self.plan.response.segments, rest.len(), seed) {
            let (segment, behind) = rest.split_at(size);
            peer.send(segment).await?;
            tokio::task::yield_now().await;
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            rest = behind;
        }
        Ok(())
    }

    fn then(&self, seed: u64) -> Then {
        let mut dice = Dice::new(seed ^ 0xc105e);
        let until_close = !self.is_bodiless && matches!(self.body, Body::UntilClose(_));
        let streamed = !self.is_bodiless && matches!(self.body, Body::Chunked { .. });
        let soon = dice.up_to(CLOSES_WITHIN_MS);
        match self.server {
            _ if self.connection == Some("close") || until_close => Then::Close,
            Server::Old => Then::Close,
            Server::OldKeeps if self.connection.is_none() => Then::Close,
            Server::ClosesAfterStreams if streamed => Then::CloseSoon(soon, How::Fin),
            // Not behind a chunked body: that its end was read cannot be known here.
            Server::Closes if !streamed && self.body.letters() < RESETS_BELOW && dice.one_in(4) => {
                Then::CloseSoon(soon, How::Reset)
            }
            Server::Closes => Then::CloseSoon(soon, How::Fin),
            _ => Then::Keep,
        }
    }
}

/// All servers.
pub struct Servers(Vec<(Server, SocketAddr, RawBackend)>);

impl Servers {
    pub async fn start(scripts: &Scripts) -> Self {
        let mut servers = Vec::new();
        for server in Server::ALL {
            let scripts = scripts.clone();
            let backend = RawBackend::start(move |peer| serve(peer, server, scripts.clone())).await;
            servers.push((server, backend.address(), backend));
        }
        Self(servers)
    }

    /// Ends the one that will have been there.
    pub async fn lose_one(&mut self) {
        for (_, _, backend) in self.0.iter_mut().filter(|(server, ..)| *server == Server::Gone) {
            backend.end().await;
        }
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(_, address, _)| *address).collect()
    }

    pub fn address(&self, server: Server) -> SocketAddr {
        let found = self.0.iter().find(|(one, ..)| *one == server);
        found.map(|(_, address, _)| *address).expect("a server that is one of all")
    }
}
