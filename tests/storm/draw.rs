//! Plans, drawn from a seed: the same number of the same seed is the same visit everywhere.

use super::plan::{
    Begins, Behind, Body, Ending, How, Leave, ModelAt, Request, RequestTracker, Response, Segments, Server, Version,
    Visit, When,
};
use super::support::dice::Dice;

/// The most letters of a body, by how often it is so large.
const SMALL: u64 = 100;
const MIDDLE: u64 = 20_000;
const LARGE: u64 = 300_000;
const HUGE: u64 = 3_000_000;

/// One of the list.
fn one<T: Copy>(dice: &mut Dice, list: &[T]) -> T {
    list[dice.place(list.len()).unwrap_or_default()]
}

fn letters(dice: &mut Dice) -> usize {
    let most = match dice.up_to(20) {
        0 => 1,
        1..=8 => SMALL,
        9..=16 => MIDDLE,
        _ => LARGE,
    };
    usize::try_from(dice.up_to(most)).unwrap_or_default()
}

/// A visit by its number.
pub fn visit(seed: u64, number: u64) -> Visit {
    let mut dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
    match dice.up_to(100) {
        0..=29 => steady(&mut dice, Server::Keeps),
        30..=39 => steady(&mut dice, Server::ClosesAfterStreams),
        40..=46 => steady(&mut dice, Server::Closes),
        47..=55 => steady(&mut dice, Server::Old),
        56..=60 => steady(&mut dice, Server::OldKeeps),
        61..=68 => early(&mut dice),
        69..=72 => small_chunks(&mut dice),
        73..=83 => leaving(&mut dice),
        84..=91 => broken_body(&mut dice),
        92..=94 => broken_head(&mut dice),
        95 => single(Server::Gone, exchange(&mut dice, Server::Gone)),
        _ => unknown(&mut dice),
    }
}

fn single(server: Server, exchange: RequestTracker) -> Visit {
    Visit { server, exchanges: vec![exchange], is_pipelined: false, reads_slowly: false }
}

/// Requests that end well.
fn steady(dice: &mut Dice, server: Server) -> Visit {
    let count = 1 + dice.up_to(4);
    let exchanges = (0..count).map(|_| exchange(dice, server)).collect();
    let mut visit = Visit { server, exchanges, is_pipelined: dice.one_in(4), reads_slowly: dice.one_in(12) };
    let last = visit.exchanges.len() - 1;
    if visit.is_pipelined {
        for exchange in &mut visit.exchanges {
            exchange.request.expects_continue = false;
            exchange.response.sends_continue = false;
            exchange.request.body = shortened(exchange.request.body, 20_000);
        }
        for exchange in &mut visit.exchanges[..last] {
            exchange.request.version = Version::Http11;
            exchange.request.connection = None;
            // A connection that ends with its response cannot carry the next one, directly.
            if let (Body::UntilClose(letters), Server::Keeps) = (exchange.response.body, server) {
                exchange.response.body = Body::Length(letters);
            }
        }
    }
    visit
}

fn shortened(body: Body, most: usize) -> Body {
    match body {
        Body::Length(letters) => Body::Length(letters.min(most)),
        Body::Chunked { letters, most: chunk, trailers } => {
            Body::Chunked { letters: letters.min(most), most: chunk, trailers }
        }
        other => other,
    }
}

fn exchange(dice: &mut Dice, server: Server) -> RequestTracker {
    let request = request(dice);
    let response = response(dice, server, &request);
    RequestTracker { request, response, leave: None }
}

fn request(dice: &mut Dice) -> Request {
    let version = if dice.one_in(8) { Version::Http10 } else { Version::Http11 };
    let method = one(dice, &["POST", "POST", "POST", "POST", "POST", "GET", "GET", "HEAD", "DELETE"]);
    let body = match method {
        "POST" if version == Version::Http11 && dice.one_in(3) => chunked(dice, version),
        "POST" => Body::Length(letters(dice)),
        _ => Body::None,
    };
    let model_at = match body {
        Body::None => ModelAt::Query,
        _ if dice.one_in(4) => ModelAt::Last,
        _ => ModelAt::First,
    };
    let connection = match version {
        Version::Http10 if dice.one_in(2) => Some("keep-alive"),
        Version::Http11 if dice.one_in(10) => Some("close"),
        _ => None,
    };
    let expects_continue = body != Body::None && version == Version::Http11 && dice.one_in(10);
    let segments = one(dice, &[Segments::AtOnce, Segments::AtOnce, Segments::AtOnce, Segments::Bytes, Segments::Odd]);
    let sends_all_first = dice.one_in(3);
    Request { method, version, connection, body, model_at, segments, expects_continue, sends_all_first }
}

fn chunked(dice: &mut Dice, _version: Version) -> Body {
    let most = one(dice, &[3, 17, 1000, 5000, 70_000]);
    // Very small chunks only of bodies that are no larger than they need to be.
    let letters = if most < 100 { letters(dice) % 2000 } else { letters(dice) };
    Body::Chunked { letters, most, trailers: dice.one_in(4) }
}

fn response(dice: &mut Dice, server: Server, request: &Request) -> Response {
    let status = one(dice, &[200, 200, 200, 200, 200, 201, 204, 304, 400, 404, 500]);
    let body = match (server.is_old(), dice.up_to(10)) {
        (false, 0..=4) => chunked(dice, request.version),
        (false, 5) | (true, 0..=4) => Body::UntilClose(letters(dice)),
        _ => Body::Length(letters(dice)),
    };
    let segments = one(dice, &[Segments::AtOnce, Segments::AtOnce, Segments::Bytes, Segments::Odd]);
    let sends_continue = !server.is_old() && request.expects_continue;
    Response { status, body, segments, begins: Begins::Behind, sends_continue, ending: Ending::Complete }
}

/// A response that begins before its request is complete.
fn early(dice: &mut Dice) -> Visit {
    let mut exchange = exchange(dice, Server::Keeps);
    let most = if dice.one_in(3) { HUGE } else { LARGE };
    let letters = usize::try_from(dice.up_to(most)).unwrap_or_default();
    exchange.request.method = "POST";
    exchange.request.model_at = ModelAt::First;
    exchange.request.body = match exchange.request.version {
        Version::Http11 if dice.one_in(3) => Body::Chunked { letters, most: 70_000, trailers: false },
        _ => Body::Length(letters),
    };
    exchange.response.status = one(dice, &[413, 401, 200]);
    exchange.response.body = Body::Length(usize::try_from(dice.up_to(60_000)).unwrap_or_default());
    exchange.response.begins = if dice.one_in(4) { Begins::EarlyThenCloses } else { Begins::EarlyThenReads };
    exchange.response.sends_continue = exchange.request.expects_continue && dice.one_in(2);
    Visit { reads_slowly: dice.one_in(3), ..single(Server::Keeps, exchange) }
}

/// Very many very small chunks with the model behind them, and a response that may begin before their end.
fn small_chunks(dice: &mut Dice) -> Visit {
    let mut exchange = exchange(dice, Server::Keeps);
    let letters = usize::try_from(1 + dice.up_to(9000)).unwrap_or_default();
    exchange.request = Request {
        method: "POST",
        version: Version::Http11,
        connection: None,
        body: Body::Chunked { letters, most: one(dice, &[1, 2, 3, 16]), trailers: false },
        model_at: if dice.one_in(4) { ModelAt::First } else { ModelAt::Last },
        segments: one(dice, &[Segments::AtOnce, Segments::AtOnce, Segments::Odd]),
        expects_continue: false,
        sends_all_first: dice.one_in(2),
    };
    exchange.response.begins = if dice.one_in(4) { Begins::Behind } else { Begins::EarlyThenReads };
    exchange.response.body = Body::Length(40);
    exchange.response.status = 401;
    exchange.response.sends_continue = false;
    single(Server::Keeps, exchange)
}

fn leaving(dice: &mut Dice) -> Visit {
    let server = one(dice, &[Server::Keeps, Server::Keeps, Server::ClosesAfterStreams, Server::Old]);
    let mut exchange = exchange(dice, server);
    let when = one(dice, &[When::InHead, When::InUpload, When::Waiting, When::Waiting, When::InResponse]);
    let behind = match when {
        When::Waiting | When::InResponse => {
            one(dice, &[Behind::Nothing, Behind::LineEnd, Behind::Byte, Behind::NextRequest])
        }
        _ => Behind::Nothing,
    };
    exchange.leave = Some(Leave { when, how: if dice.one_in(2) { How::Fin } else { How::Reset }, behind });
    exchange.request.expects_continue = false;
    exchange.request.connection = None;
    exchange.request.version = Version::Http11;
    exchange.response.sends_continue = false;
    if when == When::InUpload {
        exchange.request.method = "POST";
        exchange.request.body = Body::Length(2000 + letters(dice));
        exchange.request.model_at = if dice.one_in(4) { ModelAt::Last } else { ModelAt::First };
    }
    exchange.response.ending = match when {
        When::Waiting => Ending::WaitsAt(None),
        When::InResponse => {
            exchange.request.method = "POST";
            exchange.request.body = Body::Length(letters(dice));
            exchange.request.model_at = ModelAt::First;
            exchange.response.status = 200;
            exchange.response.body = lengthened(exchange.response.body);
            Ending::WaitsAt(Some(1 + usize::try_from(dice.up_to(200)).unwrap_or_default()))
        }
        _ => Ending::Complete,
    };
    let before = usize::try_from(dice.up_to(2)).unwrap_or_default();
    let mut exchanges: Vec<_> = (0..before).map(|_| self::exchange(dice, server)).collect();
    exchanges.push(exchange);
    Visit { server, exchanges, is_pipelined: false, reads_slowly: false }
}

/// The same, with room for an end in the middle.
fn lengthened(body: Body) -> Body {
    const ROOM: usize = 1000;
    match body {
        Body::None => Body::Length(ROOM),
        Body::Length(letters) => Body::Length(letters + ROOM),
        Body::UntilClose(letters) => Body::UntilClose(letters + ROOM),
        Body::Chunked { letters, most, trailers } => Body::Chunked { letters: letters + ROOM, most, trailers },
    }
}

fn broken_body(dice: &mut Dice) -> Visit {
    let server = one(dice, &[Server::Keeps, Server::Keeps, Server::Old, Server::Old, Server::OldKeeps]);
    let mut exchange = exchange(dice, server);
    if exchange.request.method == "HEAD" {
        exchange.request.method = "GET";
    }
    exchange.response.status = 200;
    exchange.response.body = lengthened(exchange.response.body);
    let at = dice.up_to(exchange.response.body.letters() as u64 - 1);
    let how = if dice.one_in(2) { How::Fin } else { How::Reset };
    exchange.response.ending = Ending::BrokenAt(usize::try_from(at).unwrap_or_default(), how);
    Visit { reads_slowly: dice.one_in(8), ..single(server, exchange) }
}

fn broken_head(dice: &mut Dice) -> Visit {
    let mut exchange = exchange(dice, Server::Breaks);
    let bytes = if dice.one_in(2) { 0 } else { usize::try_from(dice.up_to(30)).unwrap_or_default() };
    exchange.response.ending = Ending::BrokenInHead(bytes, if dice.one_in(2) { How::Fin } else { How::Reset });
    exchange.request.expects_continue = false;
    exchange.response.sends_continue = false;
    single(Server::Breaks, exchange)
}

/// A request that the proxy itself refuses, perhaps with a large body behind it.
fn unknown(dice: &mut Dice) -> Visit {
    let mut exchange = exchange(dice, Server::Unknown);
    if dice.one_in(2) {
        exchange.request.method = "POST";
        exchange.request.body = Body::Length(usize::try_from(dice.up_to(HUGE)).unwrap_or_default());
        exchange.request.model_at = ModelAt::First;
    }
    exchange.request.expects_continue = false;
    single(Server::Unknown, exchange)
}
