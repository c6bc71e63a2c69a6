//! Asks for one page of a long list, with patience (HOST-13, PLC-1).

use std::time::Duration;

use bytes::Bytes;

use crate::net::{Answer, Net};

/// First pause between two attempts; doubles.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest pause that the other side may ask for.
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// Whom a list is asked of. An operator named it: it may be on a private address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    /// What answers, as sentences begin with it.
    pub(super) whose: &'static str,
    /// Bytes of a page.
    pub(super) bytes_max: usize,
    /// Attempts for one page.
    pub(super) attempts: u32,
}

impl Asking {
    /// Asks until there is an answer or enough attempts were made; a 429 is waited for as long as it says.
    ///
    /// # Errors
    /// What the last attempt got, in words; at once when the request itself is refused.
    pub(super) async fn page(self, net: &Net, url: &str) -> Result<Bytes, String> {
        let Self { whose, bytes_max, attempts } = self;
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let (why, wait) = match net.get_configured(url, bytes_max).await {
                Ok(answer) if answer.status == 200 => return Ok(answer.body),
                Ok(Answer { status: 429, retry_after, .. }) => {
                    (format!("{whose} asks us to wait (429)"), retry_after)
                }
                Ok(Answer { status, .. }) if status < 500 => {
                    return Err(format!("{whose} answered {status}"));
                }
                Ok(Answer { status, .. }) => (format!("{whose} answered {status}"), None),
                Err(error) => (error.to_string(), None),
            };
            if attempt >= attempts {
                return Err(why);
            }
            attempt += 1;
            tokio::time::sleep(wait.unwrap_or(pause).min(PAUSE_MAX)).await;
            pause = pause.saturating_mul(2);
        }
    }
}
