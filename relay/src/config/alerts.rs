//! Where alerts go, and when people are told.

use std::time::Duration;

use super::{Secret, Values, millionths};

/// Settings of alerts to people.
#[derive(Debug, Clone)]
pub struct AlertSettings {
    /// Address that takes them as JSON; it may hold a secret.
    pub webhook: Option<Secret>,
    /// Token for Slack; set exactly when there is a channel.
    pub slack_token: Option<Secret>,
    /// Channel of Slack; empty when there is none.
    pub slack_channel: String,
    /// Share of its accounts' limit from which on a host is told of, in millionths.
    pub threshold_millionths: u32,
    /// Time between two looks at the limits of accounts.
    pub interval: Duration,
    /// Time after which what lasts is told again.
    pub repeat: Duration,
    /// Where a message leads to; may be empty.
    pub dashboard_url: String,
}

impl Values {
    pub(super) fn alerts(&mut self) -> AlertSettings {
        let settings = AlertSettings {
            webhook: self.secrets("alert_webhook").pop(),
            slack_token: self.secrets("slack_alert_token").pop(),
            slack_channel: self.text("slack_alert_channel"),
            threshold_millionths: millionths(&self.text("account_limit_alert_threshold")),
            interval: self.duration("account_limit_alert_interval"),
            repeat: self.duration("account_limit_alert_repeat_interval"),
            dashboard_url: self.text("account_limit_alert_dashboard_url"),
        };
        match (&settings.slack_token, settings.slack_channel.as_str()) {
            (Some(_), "") => self.object(
                "slack_alert_token",
                "one together with slack_alert_channel, which is not set",
            ),
            (None, channel) if !channel.is_empty() => self.object(
                "slack_alert_channel",
                "one together with slack_alert_token, which is not set",
            ),
            _ => {}
        }
        settings
    }
}
