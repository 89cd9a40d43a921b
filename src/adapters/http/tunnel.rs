//! Carries bytes both ways after a switch of protocols. A tunnel is in flight like any answer, and cut like one.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use crate::app::answer::Tunnel;
use crate::app::interrupt::Interrupt;

/// The buffer for each direction, in bytes.
const BUFFER: usize = 8 * 1024;

/// Carries until one side is done with both directions, breaks, or is told to end.
pub async fn carry(client: OnUpgrade, mut tunnel: Tunnel, interrupt: Arc<Interrupt>) {
    let Ok(client) = client.await else { return tunnel.ended(0, false) };
    let mut client = TokioIo::new(client);
    let copied = {
        let mut copy = pin!(copy_bidirectional_with_sizes(&mut client, &mut tunnel.upstream, BUFFER, BUFFER));
        poll_fn(|cx| {
            interrupt.register(cx.waker());
            match interrupt.is_cut() || interrupt.is_aborted() {
                true => Poll::Ready(None),
                false => copy.as_mut().poll(cx).map(Some),
            }
        })
        .await
    };
    match copied {
        Some(Ok((_, to_client))) => tunnel.ended(to_client, true),
        Some(Err(_)) | None => tunnel.ended(0, false),
    }
}
