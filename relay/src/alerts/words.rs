//! Messages as a webhook and Slack take them. Pure.

use serde_json::{Value, json};

use super::ledger::{Notice, State};

/// Alerts in one message at most.
const NOTICES_MAX: usize = 50;
/// Slack cuts a longer text.
const TEXT_CHARS_MAX: usize = 2_800;

/// Who speaks.
#[derive(Debug, Clone)]
pub(super) struct Speaker {
    /// Name of the machine.
    pub(super) machine: String,
    /// Where people look next; empty when there is no such place.
    pub(super) dashboard: String,
}

/// Notices as messages that are not too long, what is over first.
pub(super) fn portions(notices: &[Notice]) -> Vec<Vec<Notice>> {
    let mut portions: Vec<Vec<Notice>> = Vec::new();
    let over = |notice: &&Notice| notice.state == State::Over;
    let sorted = notices.iter().filter(over).chain(notices.iter().filter(|one| !over(one)));
    let mut chars = 0;
    for notice in sorted {
        let length = line(notice).chars().count() + 1;
        let fits = portions.last().is_some_and(|last| {
            last.len() < NOTICES_MAX
                && chars + length <= TEXT_CHARS_MAX
                && last.first().is_some_and(|first| over(&first) == over(&notice))
        });
        if !fits {
            portions.push(Vec::new());
            chars = 0;
        }
        chars += length;
        if let Some(last) = portions.last_mut() {
            last.push(notice.clone());
        }
    }
    portions
}

/// The body for a webhook.
pub(super) fn webhook(notices: &[Notice], speaker: &Speaker) -> Value {
    let alerts: Vec<Value> = notices
        .iter()
        .map(|notice| {
            json!({
                "kind": notice.kind.label(),
                "state": notice.state.label(),
                "host": notice.host,
                "words": notice.words,
                "since": time(notice.since_ms),
            })
        })
        .collect();
    json!({ "relay": speaker.machine, "dashboard": speaker.dashboard, "alerts": alerts })
}

/// The body for Slack's `chat.postMessage`.
pub(super) fn slack(notices: &[Notice], speaker: &Speaker, channel: &str) -> Value {
    let is_over = notices.iter().all(|notice| notice.state == State::Over);
    let color = if is_over { "#2EB67D" } else { "#ECB22E" };
    let lines: Vec<String> = notices.iter().map(|notice| escaped(&line(notice))).collect();
    let text = lines.join("\n");
    let mut blocks = vec![json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })];
    if !speaker.dashboard.is_empty() {
        let words = json!({ "type": "plain_text", "text": "Open relay dashboard" });
        let button = json!({ "type": "button", "text": words, "url": speaker.dashboard });
        blocks.push(json!({ "type": "actions", "elements": [button] }));
    }
    let context = format!("relay on {}", escaped(&speaker.machine));
    let context = json!([{ "type": "mrkdwn", "text": context }]);
    blocks.push(json!({ "type": "context", "elements": context }));
    json!({
        "channel": channel,
        "text": lines.first(),
        "attachments": [{ "color": color, "blocks": blocks }],
    })
}

fn line(notice: &Notice) -> String {
    let words = &notice.words;
    match notice.state {
        State::Began => words.clone(),
        State::Lasts => format!("Still: {words} (since {})", time(notice.since_ms)),
        State::Over => format!("Over: {words}"),
    }
}

/// Slack gives these three a meaning.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn time(ms: u64) -> String {
    /// The last millisecond of the year 9999, after which the format has no text.
    const LAST_MS: u64 = 253_402_300_799_999;
    let since = std::time::Duration::from_millis(ms.min(LAST_MS));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Kind, *};

    fn notice(state: State, words: &str) -> Notice {
        Notice {
            kind: Kind::AccountLimit,
            state,
            host: Some("pds.example.com".to_owned()),
            words: words.to_owned(),
            since_ms: 1_800_000_000_000,
        }
    }

    fn speaker() -> Speaker {
        Speaker { machine: "ash".to_owned(), dashboard: "https://dash.example.com".to_owned() }
    }

    /// A thousand hosts at once are some messages, none of them longer than Slack takes.
    #[test]
    fn many_alerts_are_few_messages_and_what_is_over_comes_first() {
        let mut notices = vec![notice(State::Began, &"x".repeat(100)); 120];
        notices.push(notice(State::Over, "well again"));
        let portions = portions(&notices);
        assert_eq!(portions[0].len(), 1);
        assert_eq!(portions[0][0].state, State::Over);
        assert_eq!(portions.iter().map(Vec::len).sum::<usize>(), 121);
        for portion in &portions {
            let body = slack(portion, &speaker(), "#ops");
            let text = body["attachments"][0]["blocks"][0]["text"]["text"].as_str().unwrap();
            assert!(text.chars().count() <= TEXT_CHARS_MAX && portion.len() <= NOTICES_MAX);
        }
        assert_eq!(super::portions(&[]), Vec::<Vec<Notice>>::new());
    }

    /// SEC-10: a name can neither ring for everybody nor hide a link in a message.
    #[test]
    fn slack_reads_no_meaning_into_a_text() {
        let body = slack(&[notice(State::Began, "<!channel> & <https://a|b>")], &speaker(), "#ops");
        let text = body["attachments"][0]["blocks"][0]["text"]["text"].as_str().unwrap();
        assert_eq!(text, "&lt;!channel&gt; &amp; &lt;https://a|b&gt;");
        assert_eq!(body["channel"], "#ops");
        assert_eq!(body["attachments"][0]["color"], "#ECB22E");
        let button = &body["attachments"][0]["blocks"][1]["elements"][0];
        assert_eq!(button["url"], "https://dash.example.com");
        let over = slack(&[notice(State::Over, "x")], &speaker(), "#ops");
        assert_eq!(over["attachments"][0]["color"], "#2EB67D");
    }

    #[test]
    fn a_webhook_gets_what_a_program_needs() {
        let body = webhook(&[notice(State::Lasts, "words")], &speaker());
        let expected = json!({
            "kind": "account_limit",
            "state": "lasts",
            "host": "pds.example.com",
            "words": "words",
            "since": "2027-01-15T08:00:00Z",
        });
        assert_eq!(body["alerts"][0], expected);
        assert_eq!(body["relay"], "ash");
    }
}
