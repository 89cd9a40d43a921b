//! Carries bytes both ways after a switch of protocols. A tunnel is in flight like any answer, and cut like one; no
//! deadline of HTTP applies to it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use app::cancel::RequestCancel;
use app::leased_body::Tunnel;
use tokio::io::{AsyncReadExt, copy_bidirectional_with_sizes, join};
use tokio::net::TcpStream;

/// The buffer for each direction, in bytes.
const BUFFER: usize = 8 * 1024;

/// Carries until one side is done with both directions, breaks, or is told to end. `early` came from the client before
/// the switch.
pub(super) async fn carry(socket: &mut TcpStream, mut early: &[u8], mut tunnel: Tunnel, cancel: &RequestCancel) {
    let copied = {
        let (reads, writes) = socket.split();
        let mut client = join(AsyncReadExt::chain(&mut early, reads), writes);
        let mut copy = pin!(copy_bidirectional_with_sizes(&mut client, &mut tunnel.upstream, BUFFER, BUFFER));
        poll_fn(|cx| {
            cancel.register(cx.waker());
            match cancel.is_force_closed() || cancel.is_aborted() {
                true => Poll::Ready(None),
                false => copy.as_mut().poll(cx).map(Some),
            }
        })
        .await
    };
    match copied {
        Some(Ok((_, to_client))) => tunnel.ended(to_client, true),
        Some(Err(_)) | None => {
            // Not every protocol tells an end in order from one that came too early.
            let _ = socket.set_zero_linger();
            tunnel.ended(0, false);
        }
    }
}
