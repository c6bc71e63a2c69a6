//! Read buffers that grew for one large message.
//!
//! The WebSocket library hands a message out as a part of its read buffer and takes the buffer for the
//! next one as soon as nobody else holds it. So a buffer that grew to megabytes once would stay with its
//! host for good, and with thousands of hosts that is the memory of the machine. A buffer that somebody
//! still holds is not taken again: so the large message is held here, until one begins elsewhere.

use bytes::Bytes;

use crate::net::READ_BUFFER_BYTES;

/// Messages above this may make a buffer grow: the library asks for room for all of one although a part of
/// it is there already.
const GROWING_BYTES: usize = READ_BUFFER_BYTES / 2;

/// A buffer that grew so far is given up even when no message follows: it is used up to its end, as it
/// grew to fit the message.
const FITTED_BYTES: usize = 8 * READ_BUFFER_BYTES;

/// The last message that made a buffer grow.
#[derive(Debug, Default)]
pub(super) struct Outgrown {
    held: Option<Bytes>,
}

impl Outgrown {
    /// A message came.
    pub(super) fn passed(&mut self, message: &Bytes) {
        if message.len() > GROWING_BYTES {
            self.held = Some(message.clone());
        } else if self.held.as_ref().is_some_and(|held| !lies_behind(held, message)) {
            self.held = None;
        }
    }

    /// Nothing has come for a while: the library has looked for room since, and made a new buffer when
    /// the old one was full.
    pub(super) fn rested(&mut self) {
        if self.held.as_ref().is_some_and(|held| held.len() > FITTED_BYTES) {
            self.held = None;
        }
    }
}

/// Whether a message may lie in the rest of the buffer that a large one had grown: a buffer doubles, or
/// grows to fit the message, so that at most so much again is left behind it.
fn lies_behind(large: &Bytes, message: &Bytes) -> bool {
    let end = large.as_ptr().addr().saturating_add(large.len());
    let distance = message.as_ptr().addr().checked_sub(end);
    distance.is_some_and(|distance| distance <= large.len().max(2 * READ_BUFFER_BYTES))
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    use super::*;
    use crate::net::socket_limits;

    /// Bytes of the buffer in which the last of these messages lies, when each is let go of before the
    /// next is read; rounded down to a power of two.
    async fn last_buffer(messages: &[usize], is_held: bool) -> usize {
        let (here, there) = tokio::io::duplex(16 << 20);
        let mut server = WebSocketStream::from_raw_socket(there, Role::Server, None).await;
        let mut client =
            WebSocketStream::from_raw_socket(here, Role::Client, Some(socket_limits())).await;
        let mut outgrown = Outgrown::default();
        let mut last = Bytes::new();
        for &length in messages {
            server.send(Message::binary(vec![7; length])).await.unwrap();
            drop(last);
            last = client.next().await.unwrap().unwrap().into_data();
            if is_held {
                outgrown.passed(&last);
            }
        }
        drop((client, outgrown));
        let mut last = last.try_into_mut().expect("nobody else holds it");
        (10..24)
            .map(|power| 1 << power)
            .take_while(|&bytes| last.try_reclaim(bytes))
            .last()
            .unwrap()
    }

    /// SEC-5: a host that once sent a megabyte does not keep a megabyte of our memory; the comparison
    /// shows that it would.
    #[tokio::test]
    async fn a_buffer_that_grew_for_one_message_is_given_up() {
        let messages = [&[1_000_000][..], &[4_000; 12][..]].concat();
        assert!(last_buffer(&messages, false).await >= 524_288, "it is kept no more anyway");
        assert!(last_buffer(&messages, true).await < READ_BUFFER_BYTES);

        // More than half a buffer, or little more than one: the rest of the grown one is used up first.
        for length in [6_000, 9_000] {
            let messages = [&[length][..], &[4_000; 12][..]].concat();
            assert!(
                last_buffer(&messages, false).await >= READ_BUFFER_BYTES,
                "it is kept no more anyway"
            );
            assert!(last_buffer(&messages, true).await < READ_BUFFER_BYTES);
        }
    }

    /// A host that falls silent after a large message does not hold it either.
    #[test]
    fn a_large_message_is_let_go_of_in_silence() {
        let large = Bytes::from(vec![0; FITTED_BYTES + 1]);
        let mut outgrown = Outgrown::default();
        outgrown.passed(&large);
        assert!(!large.is_unique());
        outgrown.rested();
        assert!(large.is_unique());
    }
}
