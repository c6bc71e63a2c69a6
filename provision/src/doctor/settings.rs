//! Settings and secrets.

use std::os::unix::fs::PermissionsExt as _;

use super::{Line, Patient};

const CHECK: &str = "settings";

pub(super) fn check(patient: &Patient) -> Vec<Line> {
    let mut lines = Vec::new();
    let there: Vec<_> = patient.files.iter().filter(|path| path.is_file()).collect();
    if there.is_empty() {
        let shown: Vec<_> = patient.files.iter().map(|path| path.display().to_string()).collect();
        return vec![Line::fail(
            CHECK,
            format!("there is no {}", shown.join(", nor ")),
            "without settings the relay would run on its defaults",
            "provision init HOST, or say with --env where they are",
        )];
    }
    for path in there {
        let mode =
            path.metadata().map(|metadata| metadata.permissions().mode()).unwrap_or_default();
        if mode & 0o077 != 0 {
            let shown = path.display();
            lines.push(Line::fail(
                CHECK,
                format!("{shown} has mode {:04o}", mode & 0o7777),
                "others on this machine may read what is in it",
                format!("chmod 600 {shown}"),
            ));
        }
    }
    match patient.config() {
        Err(wrong) => lines.push(Line::fail(
            CHECK,
            "the relay does not start with these settings",
            wrong.replace('\n', "; "),
            "change the value; env.example says what is allowed",
        )),
        Ok(config) => {
            for warning in config.warnings() {
                lines.push(Line::warn(
                    CHECK,
                    warning.clone(),
                    "it has no effect",
                    "remove the line, or correct its name",
                ));
            }
            if config.contact.is_empty() {
                lines.push(Line::warn(
                    CHECK,
                    "RELAY_CONTACT is not set",
                    "people of hosts cannot reach you when your relay troubles theirs, and block it",
                    "add RELAY_CONTACT=mailto:you@example.com",
                ));
            }
            if config.dev || config.environment != "production" {
                lines.push(Line::warn(
                    CHECK,
                    format!("ENVIRONMENT is {}", config.environment),
                    "development mode is not refused: plain http and private addresses could be let in",
                    "set ENVIRONMENT=production",
                ));
            }
        }
    }
    if lines.is_empty() {
        lines.push(Line::ok(CHECK, "the relay takes them, and nobody else reads them"));
    }
    lines
}
