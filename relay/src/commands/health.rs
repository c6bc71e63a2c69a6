//! `relay health`: asks the running relay; for container health checks and people.

use super::print::{self, Ended};
use crate::{
    config::Config,
    net::{Net, NetOptions},
};

/// Largest answer that is read.
const BODY_BYTES_MAX: usize = 16 << 10;

pub(super) async fn run(config: &Config) -> Result<(), Ended> {
    let mut address = config.api_bind;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    // The one address that is asked is our own, so the guard against private addresses is off.
    let options = NetOptions { allow_insecure: true, ..NetOptions::default() };
    let net = Net::new(options).map_err(|error| error.to_string())?;
    let answer = net
        .get(&format!("http://{address}/xrpc/_health"), BODY_BYTES_MAX)
        .await
        .map_err(|error| format!("the relay at {address} does not answer: {error}"))?;
    let body = String::from_utf8_lossy(&answer.body).trim().to_owned();
    if answer.status == 200 {
        print::line(&body)
    } else {
        let status = answer.status;
        Err(format!("the relay at {address} is not well (HTTP {status}): {body}").into())
    }
}
