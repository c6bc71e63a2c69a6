//! What a consumer is told last: error frame and close code per reason (WS-5, CUR-5).
//!
//! Pure.

use relay_protocol::error_frame;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use crate::domain::CloseReason;

/// The last words for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Farewell {
    /// Sent before the close frame.
    pub(super) error: Option<Vec<u8>>,
    /// `None` when the consumer closed first: its close frame is answered, not ours sent.
    pub(super) close: Option<CloseFrame>,
}

/// The close code says who is at fault; its text is the error name, like the reference PDS does.
pub(super) fn farewell(reason: CloseReason) -> Farewell {
    let (error, code, text) = match reason {
        CloseReason::FutureCursor => (Some("FutureCursor"), CloseCode::Policy, "FutureCursor"),
        CloseReason::TooSlow => (Some("ConsumerTooSlow"), CloseCode::Policy, "ConsumerTooSlow"),
        CloseReason::Internal => {
            (Some("InternalServerError"), CloseCode::Error, "InternalServerError")
        }
        CloseReason::FrameTooLarge => (None, CloseCode::Size, "FrameTooLarge"),
        CloseReason::NoPong => (None, CloseCode::Policy, "NoPong"),
        CloseReason::Shutdown => (None, CloseCode::Away, "the relay is shutting down"),
        CloseReason::Disconnected => (None, CloseCode::Policy, "closed by the operator"),
        CloseReason::Gone => return Farewell { error: None, close: None },
    };
    Farewell {
        error: error.map(|name| error_frame(name, Some(reason.words()))),
        close: Some(CloseFrame { code, reason: text.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WS-5, WS-6, OUT-7: codes and names per reason.
    #[test]
    fn each_reason_has_its_code_and_only_protocol_errors_have_a_frame() {
        let rows = [
            (CloseReason::FutureCursor, Some("FutureCursor"), 1008),
            (CloseReason::TooSlow, Some("ConsumerTooSlow"), 1008),
            (CloseReason::Internal, Some("InternalServerError"), 1011),
            (CloseReason::FrameTooLarge, None, 1009),
            (CloseReason::NoPong, None, 1008),
            (CloseReason::Shutdown, None, 1001),
            (CloseReason::Disconnected, None, 1008),
        ];
        for (reason, name, code) in rows {
            let told = farewell(reason);
            let close = told.close.unwrap();
            assert_eq!(u16::from(close.code), code, "{reason:?}");
            let frame = name.map(|name| error_frame(name, Some(reason.words())));
            assert_eq!(told.error, frame, "{reason:?}");
            if let Some(name) = name {
                assert_eq!(close.reason.as_str(), name);
            }
        }
        assert_eq!(farewell(CloseReason::Gone).close, None);
        assert_eq!(rows.len() + 1, CloseReason::ALL.len(), "a reason without a row");
    }
}
