//! `relay policy diff`: what a policy file would change in the running relay.

use std::{net::Ipv4Addr, path::PathBuf, process::ExitCode};

use serde::Deserialize;

use super::print::{self, Ended};
use crate::{
    actions::read_policy,
    config::Config,
    net::{Net, NetOptions, Post},
};

/// Exit code when something would change, as that of `relay log verify` when something is damaged.
const WOULD_CHANGE: u8 = 3;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    changes: Vec<String>,
    #[serde(default)]
    message: String,
}

/// * `file` – another one than that of the settings
pub(super) async fn diff(config: &Config, file: Option<PathBuf>) -> ExitCode {
    match ask(config, file).await {
        Ok(changes) if changes.is_empty() => print::ended(print::line("nothing would change")),
        Ok(changes) => match changes.iter().try_for_each(|change| print::line(change)) {
            Ok(()) => ExitCode::from(WOULD_CHANGE),
            Err(ended) => print::ended(Err(ended)),
        },
        Err(ended) => print::ended(Err(ended)),
    }
}

async fn ask(config: &Config, file: Option<PathBuf>) -> Result<Vec<String>, Ended> {
    let path = file.unwrap_or_else(|| config.policy_file.clone());
    if path.as_os_str().is_empty() {
        let why = "which policy file? Name it, or set RELAY_POLICY_FILE";
        return Err(why.to_owned().into());
    }
    // What is wrong with it is said also where no relay runs.
    let (text, _policy) = read_policy(&path, config.dev).map_err(|why| why.to_string())?;
    let mut config = config.clone();
    let more = config.admin_password_file.clone();
    config.add_admin_passwords(&more).map_err(|why| why.to_string())?;
    config.ensure_admin_password().map_err(|why| why.to_string())?;
    let mut address = config.admin_bind;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let net = Net::new(NetOptions::default()).map_err(|error| error.to_string())?;
    let post = Post {
        password: config.admin_passwords.first().map(crate::config::Secret::expose),
        via: "1.1 relay",
        json: &text,
    };
    let answer = net
        .post_admin(&format!("http://{address}/admin/v1/policy/diff"), post)
        .await
        .map_err(|error| format!("the relay at {address} does not answer: {error}"))?;
    let status = answer.status;
    let said: Answer = serde_json::from_slice(&answer.body).map_err(|_other| {
        format!("the relay at {address} answers something else (HTTP {status})")
    })?;
    if status == 200 {
        return Ok(said.changes);
    }
    Err(format!("the relay at {address} does not say (HTTP {status}): {}", said.message).into())
}
