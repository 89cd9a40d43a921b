//! Tunnels: both sides say and hear what was planned, and each sees how the other one ends.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::bytes::letters;
use super::plan::{How, Segments};
use super::play::{Log, NOTICED, STEP};
use super::response;
use super::run::Ground;
use super::support::dice::Dice;
use super::support::raw_backend::Peer;
use super::wire::{Stop, Wire};

/// The most bytes that are said at once, and the most turns.
const LARGEST_TURN: u64 = 100_000;
const MOST_TURNS: u64 = 6;
/// How many turns of a long talk are shown.
const SHOWN_TURNS: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    With(How),
    /// Closes its own direction; the other side says so many bytes, and then ends.
    Half(usize),
}

/// What both sides of a tunnel do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Bytes that stand right behind the head of the switch.
    pub early: usize,
    /// Who says how much, one after the other, with a pause before each.
    pub turns: Vec<(Side, usize)>,
    pub pause: Duration,
    pub ender: Side,
    pub ends: Ends,
}

pub fn draw(dice: &mut Dice) -> Plan {
    let mut size = |most: u64| usize::try_from(dice.up_to(most)).unwrap_or_default();
    let early = if size(2) == 0 { 0 } else { size(5000) };
    let mut turns: Vec<_> = (0..size(MOST_TURNS))
        .map(|_| {
            let side = if size(2) == 0 { Side::Client } else { Side::Server };
            let most = if size(3) == 0 { LARGEST_TURN } else { 200 };
            (side, 1 + size(most))
        })
        .collect();
    let ender = if size(2) == 0 { Side::Client } else { Side::Server };
    let ends = match size(3) {
        0 => Ends::With(How::Fin),
        1 => Ends::With(How::Reset),
        _ => Ends::Half(size(3000)),
    };
    if ends == Ends::With(How::Reset) {
        // A reset takes along what is on its way: the other side says first that it has heard all.
        turns.push((if ender == Side::Client { Side::Server } else { Side::Client }, 1));
    }
    Plan { early, turns, pause: Duration::ZERO, ender, ends }
}

/// One playing of it.
pub struct Play {
    plan: Plan,
    seed: u64,
    log: Log,
    served: Mutex<Option<String>>,
    is_served: Notify,
}

/// A side of a tunnel.
trait Talker {
    async fn say(&mut self, bytes: &[u8]) -> bool;
    async fn hear(&mut self, count: usize) -> Result<Vec<u8>, Stop>;
    async fn half_close(&mut self);
}

impl Talker for Wire {
    async fn say(&mut self, bytes: &[u8]) -> bool {
        self.outgoing.send(bytes, Segments::AtOnce, 0).await.is_ok()
    }

    async fn hear(&mut self, count: usize) -> Result<Vec<u8>, Stop> {
        self.incoming.exactly(count).await
    }

    async fn half_close(&mut self) {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut self.outgoing.writer).await;
    }
}

impl Talker for Peer {
    async fn say(&mut self, bytes: &[u8]) -> bool {
        matches!(tokio::time::timeout(STEP, self.send(bytes)).await, Ok(Ok(())))
    }

    async fn hear(&mut self, count: usize) -> Result<Vec<u8>, Stop> {
        match tokio::time::timeout(STEP, self.exactly(count)).await {
            Err(_) => Err(Stop::Hung(format!("{count} bytes did not come within {STEP:?}"))),
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Stop::Ended(How::Fin)),
            Ok(Err(_)) => Err(Stop::Ended(How::Reset)),
        }
    }

    async fn half_close(&mut self) {
        let _ = Self::half_close(self).await;
    }
}

impl Play {
    fn new(plan: &Plan, seed: u64) -> Self {
        let (served, is_served) = (Mutex::new(None), Notify::new());
        Self { plan: plan.clone(), seed, log: Log::new(), served, is_served }
    }

    fn part(&self, turn: usize, count: usize) -> Vec<u8> {
        letters(self.seed ^ (turn as u64 + 1) << 8, count)
    }

    /// The server's part, behind the head of the request.
    pub async fn serve(&self, mut peer: Peer) -> io::Result<()> {
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: storm\r\n\r\n";
        peer.send([head.as_bytes(), &self.part(100, self.plan.early)].concat()).await?;
        let (seen, resets) = self.talk(&mut peer, Side::Server).await;
        self.log.note(format_args!("server: {seen}"));
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        self.is_served.notify_one();
        if resets { peer.reset() } else { Ok(()) }
    }

    /// The turns and the end, as one side sees them, and whether it has to reset.
    async fn talk(&self, talker: &mut impl Talker, own: Side) -> (String, bool) {
        let mut seen = String::new();
        for (turn, (side, count)) in self.plan.turns.iter().enumerate() {
            let part = self.part(turn, *count);
            tokio::time::sleep(self.plan.pause).await;
            let as_planned = match *side == own {
                true => talker.say(&part).await,
                false => matches!(talker.hear(*count).await, Ok(heard) if heard == part),
            };
            if !as_planned {
                let _ = write!(seen, "turn {turn} failed");
                return (seen, false);
            }
        }
        match (self.plan.ends, self.plan.ender == own) {
            (Ends::With(how), true) => return (seen, how == How::Reset),
            (Ends::With(_), false) => seen.push_str(&ended(talker).await),
            (Ends::Half(tail), true) => {
                talker.half_close().await;
                let heard = talker.hear(tail).await;
                let is_right = matches!(heard, Ok(heard) if heard == self.part(101, tail));
                let _ = write!(seen, "tail right: {is_right}, {}", ended(talker).await);
            }
            (Ends::Half(tail), false) => {
                seen.push_str(&ended(talker).await);
                let _ = write!(seen, ", tail sent: {}", talker.say(&self.part(101, tail)).await);
            }
        }
        (seen, false)
    }
}

async fn ended(talker: &mut impl Talker) -> String {
    match tokio::time::timeout(NOTICED, talker.hear(1)).await {
        Ok(Err(Stop::Ended(how))) => format!("{how:?}"),
        other => format!("no end: {other:?}"),
    }
}

/// What both sides saw of one playing.
async fn played(ground: &Ground, play: &Arc<Play>, address: SocketAddr, model: &str) -> (String, String) {
    let key = ground.scripts.tunnels.enter(play);
    let head = format!(
        "GET /v1/tunnel/{key}?model={model} HTTP/1.1\r\nhost: storm\r\nconnection: upgrade\r\nupgrade: storm\r\n\r\n"
    );
    let client = client(play, address, &head).await;
    let _ = tokio::time::timeout(STEP, play.is_served.notified()).await;
    ground.scripts.tunnels.leave(key);
    let served = play.served.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (client, served.unwrap_or_else(|| "not served to the end".to_owned()))
}

async fn client(play: &Play, address: SocketAddr, head: &str) -> String {
    let Ok(mut wire) = Wire::connect(address, false, &play.log).await else { return "no connection".to_owned() };
    wire.say(head.as_bytes()).await;
    match response::head(&mut wire.incoming).await {
        Ok(head) if head.status == 101 => {}
        Ok(head) => return format!("status {}", head.status),
        Err(stop) => return format!("no head: {stop:?}"),
    }
    let early = wire.hear(play.plan.early).await;
    if !matches!(early, Ok(early) if early == play.part(100, play.plan.early)) {
        return "early bytes are not right".to_owned();
    }
    let (seen, resets) = play.talk(&mut wire, Side::Client).await;
    play.log.note(format_args!("client: {seen}"));
    wire.leave(if resets { How::Reset } else { How::Fin });
    seen
}

/// Plays it directly and through the proxy; says what differed.
pub async fn both_ways(ground: &Ground, plan: &Plan, seed: u64) -> Result<(), String> {
    let server = super::plan::Server::Keeps;
    let (one, other) = (Arc::new(Play::new(plan, seed)), Arc::new(Play::new(plan, seed)));
    let (direct, proxied) = tokio::join!(
        played(ground, &one, ground.servers.address(server), server.model()),
        played(ground, &other, ground.proxy, server.model()),
    );
    // A reset may arrive as an end in order: what is spoken in a tunnel has a farewell of its own.
    let in_order =
        |(client, server): &(String, String)| (client.replace("Reset", "Fin"), server.replace("Reset", "Fin"));
    if in_order(&direct) == in_order(&proxied) {
        return Ok(());
    }
    let (log, turns) = (other.log.text(), plan.turns.len());
    let plan = Plan { turns: plan.turns.iter().take(SHOWN_TURNS).copied().collect(), ..plan.clone() };
    Err(format!(
        "{turns} turns of {plan:?}\n  (client, server) directly {direct:?}, through the proxy {proxied:?}\n    {log}"
    ))
}
