//! The time of this machine, compared with that of a server that is known to be right.

use std::time::UNIX_EPOCH;

use super::{Line, Patient, STEP_MAX};
use crate::moment;

const CHECK: &str = "clock";
/// The answer has whole seconds, and takes its time to come.
const TOLERATED_MS: u64 = 5_000;
/// Commits from the future are dropped, and TLS refuses certificates.
const WRONG_MS: u64 = 60_000;

pub(super) async fn check(patient: &Patient) -> Line {
    let url = &patient.time_from;
    let theirs = match their_time(url).await {
        Ok(theirs) => theirs,
        Err(why) => {
            return Line::warn(
                CHECK,
                format!("{url} does not tell the time"),
                why,
                "say with --time-from whom to ask, and look at `timedatectl`",
            );
        }
    };
    let ours = moment::now_ms();
    let away = ours.abs_diff(theirs);
    let what = format!(
        "the clock is {}.{} s {} that of {url}",
        away / 1_000,
        away % 1_000 / 100,
        if ours >= theirs { "ahead of" } else { "behind" }
    );
    let fix = "timedatectl set-ntp true, or install chrony";
    if away <= TOLERATED_MS {
        Line::ok(CHECK, what)
    } else if away <= WRONG_MS {
        Line::warn(CHECK, what, "delays that are measured are wrong by as much", fix)
    } else {
        let cause =
            "commits seem to come from the future or the past, and certificates seem not valid";
        Line::fail(CHECK, what, cause, fix)
    }
}

async fn their_time(url: &str) -> Result<u64, String> {
    let client = crate::feed::client().map_err(|error| format!("{error:#}"))?;
    let answer = client.get(url).timeout(STEP_MAX).send().await;
    let answer = answer.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?;
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let date = date.ok_or("its answer has no Date")?;
    let time = http_date(date).ok_or_else(|| format!("its Date is {date:?}"))?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    u64::try_from(since.as_millis()).map_err(|error| error.to_string())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the form that all servers send.
fn http_date(text: &str) -> Option<std::time::SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = fields.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_understood() {
        let at = |text| Some(http_date(text)?.duration_since(UNIX_EPOCH).ok()?.as_secs());
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        for wrong in ["", "yesterday", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 6 Foo 1994 1:2:3 GMT"]
        {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
