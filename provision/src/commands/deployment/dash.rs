//! `provision deployment dash`.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use clap::Args;
use provision::deployment::{
    Deployment,
    dash::{Doors, Wanted},
};

use crate::{
    commands::wait::{self, Screen},
    out,
};

const EXAMPLES: &str = "\
Examples:
  provision deployment dash ash
  provision deployment dash ash --port 8080 --also 3000     Grafana too

Ports of this machine lead through ssh to the dashboard with the admin API, and to Prometheus, which the
host shows to itself alone. A lost connection is made anew, until Ctrl-C.
Exit codes: 0 ended by Ctrl-C, 1 there is no way to the host, 2 wrong usage.";
const ADMIN: u16 = 2472;
const PROMETHEUS: u16 = 9090;

/// To which one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DashArgs {
    /// The deployment.
    pub(crate) name: Option<String>,
    /// Port of this machine for the dashboard. Otherwise that of the host if it is free, or any.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Another port of the host; may be repeated.
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    also: Vec<u16>,
    /// Where the host has its admin API.
    #[arg(long, value_name = "PORT", default_value_t = ADMIN, hide = true)]
    admin: u16,
    /// Where the host has Prometheus.
    #[arg(long, value_name = "PORT", default_value_t = PROMETHEUS, hide = true)]
    prometheus: u16,
}

/// Opens the doors until it is asked to end.
pub(crate) fn run(deployment: &Deployment, args: &DashArgs) -> Result<bool> {
    let remote = deployment.remote()?;
    let to = |port: u16, near: Option<u16>| Wanted {
        far: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        near,
    };
    let mut wanted = vec![to(args.admin, args.port), to(args.prometheus, None)];
    wanted.extend(args.also.iter().map(|port| to(*port, None)));
    let mut screen = Screen::new();
    wait::on(async {
        let doors = Doors::open(&remote, &wanted).await?;
        for (index, near) in doors.near.iter().enumerate() {
            let (name, path) = match index {
                0 => ("dashboard", "/dash"),
                1 => ("Prometheus", "/"),
                _ => ("port", "/"),
            };
            out::line(&format!("{name:<11} http://{near}{path}"));
        }
        let secrets = deployment.file("secrets/relay.env");
        out::note(&format!("log in with RELAY_ADMIN_PASSWORD of {}", secrets.display()));
        out::note("the admin API answers there too, below /admin, for the user admin");
        out::note("Ctrl-C ends it");
        let mut tell = |told| screen.tell(told);
        tokio::select! {
            kept = doors.keep(&remote, &mut tell) => kept,
            () = wait::asked_to_end() => Ok(()),
        }
    })?;
    Ok(true)
}
