//! The client's part of a visit.

use std::net::SocketAddr;
use std::time::Duration;

use super::bytes;
use super::plan::{Behind, Ending, Leave, RequestTracker, When};
use super::play::{Got, Play, STEP, Seen, reaches};
use super::response;
use super::wire::{Stop, Wire};

/// How long a client that leaves in its upload waits for the backend to see its request. With the model behind what was
/// sent, nothing of the request need come.
const BEGINS_WITHIN: Duration = Duration::from_millis(300);
/// How long a client waits for the word to go on.
const CONTINUES_WITHIN: Duration = Duration::from_millis(200);

/// Plays a visit against this address. `directly`: it is the backend's own, which may close after any response.
pub async fn visit(play: &Play, key: u64, address: SocketAddr, directly: bool) -> Vec<Got> {
    let visit = &play.visit;
    let each_alone = directly && visit.server.closes();
    let mut got = Vec::new();
    if visit.is_pipelined && !each_alone {
        got = pipelined(play, key, address).await;
    } else {
        let mut kept = None;
        for at in 0..visit.exchanges.len() {
            let (one, wire) = alone(play, key, at, address, kept.take()).await;
            let is_over = matches!(one, Got::Hung(_));
            play.log.note(format_args!("client: {at} is {one:?}"));
            got.push(one);
            kept = wire.filter(|_| !each_alone);
            if is_over {
                break;
            }
        }
    }
    for step in &play.steps {
        step.client_is_done.send_replace(true);
    }
    got
}

fn request(play: &Play, key: u64, at: usize) -> (Vec<u8>, Vec<u8>) {
    let (step, exchange) = (&play.steps[at], &play.visit.exchanges[at]);
    let path = format!("/v1/play/{key}/{at}");
    bytes::request(&exchange.request, &path, play.visit.server.model(), &step.request_body, step.seed)
}

async fn connect(play: &Play, address: SocketAddr) -> Result<Wire, Got> {
    match tokio::time::timeout(STEP, Wire::connect(address, play.visit.reads_slowly, &play.log)).await {
        Err(_) => Err(Got::Hung("connecting".to_owned())),
        Ok(Err(error)) => {
            play.log.note(format_args!("client: no connection: {error}"));
            Err(Got::Nothing)
        }
        Ok(Ok(wire)) => Ok(wire),
    }
}

fn outcome(read: Result<Seen, Stop>) -> Got {
    match read {
        Ok(seen) => Got::Response(seen),
        Err(Stop::Ended(_)) => Got::Nothing,
        Err(Stop::Hung(what)) => Got::Hung(what),
        Err(Stop::Wrong(what)) => Got::Wrong(what),
    }
}

/// All requests first, then all responses.
async fn pipelined(play: &Play, key: u64, address: SocketAddr) -> Vec<Got> {
    let mut wire = match connect(play, address).await {
        Ok(wire) => wire,
        Err(got) => return vec![got],
    };
    let mut all = Vec::new();
    for at in 0..play.steps.len() {
        let (head, body) = request(play, key, at);
        all.extend([head, body].concat());
    }
    let (kind, seed) = (play.visit.exchanges[0].request.segments, play.steps[0].seed);
    if let Err(stop) = wire.outgoing.send(&all, kind, seed).await {
        return vec![outcome(Err(stop))];
    }
    let mut got = Vec::new();
    for at in 0..play.steps.len() {
        let one = outcome(response::read(&mut wire.incoming, play, at).await);
        play.log.note(format_args!("client: {at} is {one:?}"));
        let goes_on = matches!(&one, Got::Response(seen) if seen.keeps);
        got.push(one);
        if !goes_on {
            break;
        }
    }
    got
}

/// One exchange, on the connection that was kept or on a new one; returns that connection if it takes another.
async fn alone(play: &Play, key: u64, at: usize, address: SocketAddr, kept: Option<Wire>) -> (Got, Option<Wire>) {
    let wire = match kept {
        Some(wire) => Ok(wire),
        None => connect(play, address).await,
    };
    let mut wire = match wire {
        Ok(wire) => wire,
        Err(got) => return (got, None),
    };
    let (head, body) = request(play, key, at);
    if let Some(leave) = play.visit.exchanges[at].leave {
        return (leaves(wire, play, at, leave, &head, &body).await, None);
    }
    let (mut seen, sent_all) = match asked(&mut wire, play, at, head, body).await {
        Ok(seen) => seen,
        Err(stop) => return (outcome(Err(stop)), None),
    };
    if !sent_all {
        return (Got::Response(seen), None);
    }
    if seen.keeps {
        return (Got::Response(seen), Some(wire));
    }
    if seen.cut.is_none() {
        match wire.incoming.closed().await {
            Ok(how) => seen.closed = Some(how),
            Err(stop) => return (outcome(Err(stop)), None),
        }
    }
    (Got::Response(seen), None)
}

/// Sends a request in its own way and reads its response. Returns whether all of the request was sent.
async fn asked(wire: &mut Wire, play: &Play, at: usize, head: Vec<u8>, body: Vec<u8>) -> Result<(Seen, bool), Stop> {
    let (plan, seed) = (&play.visit.exchanges[at].request, play.steps[at].seed);
    let Wire { incoming, outgoing } = wire;
    let all = if plan.expects_continue {
        outgoing.send(&head, plan.segments, seed).await?;
        // Not every server knows what is expected of it; clients go on after a while.
        if tokio::time::timeout(CONTINUES_WITHIN, incoming.is_there()).await.is_ok() {
            let first = response::head(incoming).await?;
            if first.status != 100 {
                return Ok((response::rest(incoming, play, at, &first).await?, false));
            }
        }
        body
    } else {
        [head, body].concat()
    };
    let mut sent_all = true;
    if plan.sends_all_first {
        outgoing.send(&all, plan.segments, seed).await?;
    } else {
        tokio::select! {
            biased;
            sent = outgoing.send(&all, plan.segments, seed) => sent?,
            () = incoming.is_there() => sent_all = false,
        }
    }
    Ok((response::read(incoming, play, at).await?, sent_all))
}

async fn leaves(mut wire: Wire, play: &Play, at: usize, leave: Leave, head: &[u8], body: &[u8]) -> Got {
    let (exchange, step): (&RequestTracker, _) = (&play.visit.exchanges[at], &play.steps[at]);
    let sent = match leave.when {
        When::InHead => head[..head.len() / 2].to_vec(),
        When::InUpload => [head, &body[..body.len() / 2]].concat(),
        When::Waiting | When::InResponse => [head, body, behind(leave.behind)].concat(),
    };
    if let Err(stop) = wire.outgoing.send(&sent, exchange.request.segments, step.seed).await {
        return outcome(Err(stop));
    }
    match (leave.when, exchange.response.ending) {
        (When::InUpload, _) => drop(reaches(&step.heads, 1, BEGINS_WITHIN).await),
        (When::Waiting, _) if !reaches(&step.wholes, 1, STEP).await => {
            return Got::Hung("the request did not reach the backend".to_owned());
        }
        (When::InResponse, Ending::WaitsAt(Some(bytes))) => {
            if let Err(stop) = response::begin(&mut wire.incoming, play, at, bytes).await {
                return outcome(Err(stop));
            }
        }
        _ => {}
    }
    wire.leave(leave.how);
    Got::Left
}

fn behind(what: Behind) -> &'static [u8] {
    match what {
        Behind::Nothing => b"",
        Behind::LineEnd => b"\r\n",
        Behind::Byte => b"G",
        Behind::NextRequest => b"GET /v1/models HTTP/1.1\r\nhost: storm\r\n\r\n",
    }
}
