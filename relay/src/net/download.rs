//! Answers that are too large to be held: read piece by piece, bounded in size, in time and in idleness.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Response, header::ACCEPT};
use tokio::time::{Instant, timeout_at};

use super::{Answer, Net, NetError, request};

/// The largest repository that is read. Its time runs out earlier at most hosts.
const BYTES_MAX: u64 = 4 << 30;

/// Longest time from the first byte asked to the last one read: 4 GiB at 7 MB/s.
const TIME_MAX: Duration = Duration::from_mins(10);

/// How long nothing may come, the first byte included: a host reads a large repository from its disk first.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Bytes a second in the mean, after [`IDLE_MAX`]; a host that drips is not waited for.
const RATE_MIN: u64 = 32 << 10;

/// Bytes of an answer that is an error.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// What a host sends instead of a body that is held.
#[derive(Debug)]
pub enum Downloaded {
    /// 200: the body is to be read.
    Body(Download),
    /// Any other status.
    Refused(Answer),
}

/// A body that is being read.
#[derive(Debug)]
pub struct Download {
    response: Response,
    began: Instant,
    received: u64,
}

impl Net {
    /// GET of a large body; the address passes the same guard as that of [`Self::get`] (SEC-1).
    ///
    /// # Errors
    /// [`NetError`]; an HTTP error status is an [`Answer`].
    pub async fn download(&self, url: &str) -> Result<Downloaded, NetError> {
        let url = self.parts.guard.url(url)?;
        start(&self.parts.guarded, url).await
    }
}

async fn start(client: &Client, url: url::Url) -> Result<Downloaded, NetError> {
    let began = Instant::now();
    let request = client.get(url).header(ACCEPT, "application/vnd.ipld.car");
    // Behind our own limits, so that those are told.
    let request = request.timeout(TIME_MAX + IDLE_MAX);
    let sent = timeout_at(began + IDLE_MAX, request.send()).await;
    let response = sent.map_err(|_elapsed| idle())?.map_err(|error| request::failed(&error))?;
    if response.status().as_u16() == 200 {
        return Ok(Downloaded::Body(Download { response, began, received: 0 }));
    }
    let answer = timeout_at(began + IDLE_MAX * 2, request::read(response, ERROR_BYTES_MAX)).await;
    answer.map_err(|_elapsed| idle())?.map(Downloaded::Refused)
}

impl Download {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or one of the limits is reached.
    ///
    /// Cancel safety: the download is given up.
    pub async fn next(&mut self) -> Result<Option<Bytes>, NetError> {
        let deadline = (Instant::now() + IDLE_MAX).min(self.began + TIME_MAX);
        let Ok(next) = timeout_at(deadline, self.response.chunk()).await else {
            check(self.received, self.began.elapsed())?;
            return Err(idle());
        };
        let Some(piece) = next.map_err(|error| request::failed(&error))? else { return Ok(None) };
        self.received = self.received.saturating_add(piece.len() as u64);
        check(self.received, self.began.elapsed())?;
        Ok(Some(piece))
    }
}

/// Whether so many bytes may have come in this time.
fn check(received: u64, elapsed: Duration) -> Result<(), NetError> {
    let failed = |why: String| Err(NetError::Failed(why));
    if received > BYTES_MAX {
        return failed(format!("the answer is longer than {} GiB", BYTES_MAX >> 30));
    }
    if elapsed >= TIME_MAX {
        return failed(format!("the answer did not end in {} minutes", TIME_MAX.as_secs() / 60));
    }
    let seconds = elapsed.saturating_sub(IDLE_MAX).as_secs();
    if received < seconds.saturating_mul(RATE_MIN) {
        return failed(format!("the answer came with less than {} KiB/s", RATE_MIN >> 10));
    }
    Ok(())
}

fn idle() -> NetError {
    NetError::Failed(format!("nothing came for {} s", IDLE_MAX.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that sends for ever, or a byte now and then, is given up.
    #[test]
    fn a_download_is_bounded_in_size_time_and_slowness() {
        let minute = Duration::from_mins(1);
        for (received, elapsed) in [(0, IDLE_MAX), (1 << 20, minute), (BYTES_MAX, minute * 9)] {
            assert!(check(received, elapsed).is_ok(), "{received} {elapsed:?}");
        }
        for (received, elapsed, said) in [
            (BYTES_MAX + 1, minute, "4 GiB"),
            (BYTES_MAX, TIME_MAX, "10 minutes"),
            (900 << 10, minute, "32 KiB/s"),
        ] {
            let error = check(received, elapsed).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
