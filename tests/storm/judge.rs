//! What came through the proxy, held against what came from the backend itself; where the two may differ stands in a table.

use super::plan::{Begins, Body, Ending, How, RequestTracker, Server, Version, When};
use super::play::{Arrived, Got, Play, Seen};

/// Something that was not as it should be.
#[derive(Debug, Clone)]
pub struct Difference {
    pub exchange: usize,
    /// One of few: what failures are counted by.
    pub kind: &'static str,
    pub detail: String,
}

/// Where the proxy may differ from a direct connection, and why.
struct Allowed {
    why: &'static str,
    applies: fn(Server, &RequestTracker, &Got, &Got) -> bool,
}

const ALLOWED: &[Allowed] = &[
    Allowed {
        why: "a backend that refuses, or breaks off before its head is complete, is answered for: 502, or 503 once it is \
              known to be away",
        applies: |server, plan, direct, proxied| {
            let breaks = server == Server::Gone || matches!(plan.response.ending, Ending::BrokenInHead(..));
            breaks && *direct == Got::Nothing && is_whole(proxied, &[502, 503])
        },
    },
    Allowed {
        why: "a backend that closes with an upload unread may take its response along: what came of it, or 502",
        applies: |_, plan, _, proxied| {
            let closes = plan.response.begins == Begins::EarlyThenCloses;
            closes
                && (is_whole(proxied, &[plan.response.status, 502]) || is_force_closed(proxied, plan.response.status))
        },
    },
    Allowed {
        why: "a break that an HTTP/1.0 client cannot see in an end in order is shown to it as a reset",
        applies: |_, plan, _, proxied| {
            let is_hidden = plan.request.version == Version::Http10
                && matches!(plan.response.ending, Ending::BrokenAt(_, How::Fin));
            is_hidden && is_force_closed(proxied, plan.response.status)
        },
    },
    Allowed {
        why: "a backend that closes behind a complete response may reset it under a client that it serves directly; all of it \
              came through the proxy",
        applies: |server, plan, direct, proxied| {
            let closes = !matches!(server, Server::Keeps | Server::OldKeeps);
            let is_sent_whole = matches!(plan.response.ending, Ending::Complete);
            let came =
                matches!(proxied, Got::Response(seen) if seen.is_right && seen.bytes == plan.response.body.letters());
            let direct_was_cut = is_force_closed(direct, plan.response.status);
            closes && is_sent_whole && direct_was_cut && came && is_whole(proxied, &[plan.response.status])
        },
    },
];

fn is_whole(got: &Got, statuses: &[u16]) -> bool {
    matches!(got, Got::Response(seen) if seen.cut.is_none() && statuses.contains(&seen.status))
}

fn is_force_closed(got: &Got, status: u16) -> bool {
    matches!(got, Got::Response(seen) if seen.cut.is_some() && seen.is_right && seen.status == status)
}

/// One playing of a visit, with what its client got.
pub struct Played<'a> {
    pub play: &'a Play,
    pub got: &'a [Got],
}

/// The first difference, or why others are none. Without a direct playing, the proxy itself had to refuse.
pub fn judge(direct: Option<&Played<'_>>, proxied: &Played<'_>) -> Result<Vec<&'static str>, Difference> {
    let mut allowed = Vec::new();
    for at in 0..proxied.play.visit.exchanges.len() {
        let wrong = |(kind, detail)| Difference { exchange: at, kind, detail };
        let got = proxied.got.get(at).unwrap_or(&Got::Nothing);
        match direct {
            None => refused(got).map_err(wrong)?,
            Some(direct) => {
                let yardstick = direct.got.get(at).unwrap_or(&Got::Nothing);
                allowed.extend(one(direct.play, proxied.play, at, yardstick, got).map_err(wrong)?);
            }
        }
    }
    Ok(allowed)
}

type Wrong = (&'static str, String);

/// A model that no server has.
fn refused(got: &Got) -> Result<(), Wrong> {
    match got {
        Got::Response(seen) if seen.status == 404 && seen.cut.is_none() && seen.closed != Some(How::Reset) => Ok(()),
        _ => Err(("own error did not arrive", format!("instead of a 404: {got:?}"))),
    }
}

fn one(direct_play: &Play, play: &Play, at: usize, direct: &Got, proxied: &Got) -> Result<Option<&'static str>, Wrong> {
    let plan = &play.visit.exchanges[at];
    hung(direct).map_err(|(_, detail)| ("the direct playing failed", detail))?;
    hung(proxied)?;
    let mut why = None;
    if let Err(wrong) = same(plan, direct, proxied) {
        let rule = ALLOWED.iter().find(|rule| (rule.applies)(play.visit.server, plan, direct, proxied));
        why = Some(rule.ok_or(wrong)?.why);
    }
    if let Got::Response(seen) = proxied {
        connection(plan, seen)?;
    }
    arrived(plan, &direct_play.steps[at].arrivals(), play, at)?;
    Ok(why)
}

fn hung(got: &Got) -> Result<(), Wrong> {
    match got {
        Got::Hung(what) => Err(("hung", what.clone())),
        Got::Wrong(what) => Err(("not HTTP", what.clone())),
        _ => Ok(()),
    }
}

/// What the client got, but for what concerns the connection.
fn same(plan: &RequestTracker, direct: &Got, proxied: &Got) -> Result<(), Wrong> {
    let both = || format!("directly {direct:?}, through the proxy {proxied:?}");
    let (one, other) = match (direct, proxied) {
        (Got::Response(one), Got::Response(other)) => (one, other),
        (direct, proxied) if direct == proxied && *direct != Got::Nothing => return Ok(()),
        _ => return Err(("another outcome", both())),
    };
    if other.status != one.status {
        return Err(if other.status == 502 { ("502", both()) } else { ("another status", both()) });
    }
    if !other.is_right {
        return Err(("wrong bytes", both()));
    }
    match (one.cut, other.cut) {
        (Some(_), None) => return Err(("cut response looks complete", both())),
        (None, Some(_)) => return Err(("complete response was cut", both())),
        (None, None) if one.bytes != other.bytes => return Err(("another length", both())),
        _ => {}
    }
    // There are no trailers in HTTP/1.0, and only a client that says so takes them.
    if other.trailers && !one.trailers && plan.request.version == Version::Http11 {
        return Err(("trailers", both()));
    }
    Ok(())
}

/// Whether the client's connection stays where it can, and ends in order.
fn connection(plan: &RequestTracker, seen: &Seen) -> Result<(), Wrong> {
    if seen.closed == Some(How::Reset) {
        return Err(("reset behind a complete response", format!("{seen:?}")));
    }
    let length = matches!(plan.response.body, Body::Length(_));
    let can_stay = match plan.request.version {
        Version::Http11 => plan.request.connection != Some("close"),
        Version::Http10 => plan.request.connection == Some("keep-alive") && length,
    };
    let is_own = seen.status != plan.response.status;
    let is_steady = plan.response.ending == Ending::Complete && plan.response.begins == Begins::Behind && !is_own;
    if is_steady && can_stay && !seen.keeps {
        return Err(("connection not kept", format!("{seen:?}")));
    }
    Ok(())
}

/// What the backend saw of the request.
fn arrived(plan: &RequestTracker, direct: &[Arrived], play: &Play, at: usize) -> Result<(), Wrong> {
    let step = &play.steps[at];
    let arrivals = step.arrivals();
    let both = || format!("directly {direct:?}, through the proxy {arrivals:?}");
    let heads = *step.heads.borrow();
    if heads > 1 {
        return Err(("sent twice", both()));
    }
    if heads > arrivals.len() {
        return Err(("the backend still waits for the client", both()));
    }
    if arrivals.iter().any(|one| one.is_right == Some(false)) {
        return Err(("wrong bytes in the request", both()));
    }
    if arrivals.iter().any(|one| one.was_held_back) {
        return Err(("part of a response held back", both()));
    }
    if arrivals.iter().any(|one| one.saw_the_end == Some(false)) {
        return Err(("leaving was not noticed", both()));
    }
    let is_complete = arrivals.first().is_some_and(|one| one.is_right.is_some());
    match plan.leave.map(|leave| leave.when) {
        Some(When::InHead) if heads > 0 => return Err(("a part of a head was passed on", both())),
        Some(When::InUpload) if is_complete => return Err(("a part of a body looks complete", both())),
        Some(When::InHead | When::InUpload) => return Ok(()),
        _ => {}
    }
    let directly = direct.first();
    let needed = plan.response.begins == Begins::Behind && directly.is_some_and(|one| one.is_right.is_some());
    if needed && !is_complete {
        return Err(("the request did not arrive whole", both()));
    }
    let trailers = |one: Option<&Arrived>| one.is_some_and(|one| one.trailers);
    if needed && trailers(directly) != trailers(arrivals.first()) {
        return Err(("trailers of the request", both()));
    }
    Ok(())
}
