//! What a person reads when a relay is live.

use std::{fmt, time::Duration};

use anyhow::Result;
use serde::Serialize;

use super::Deployment;

/// A deployment that reached its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// Public name of the relay.
    pub hostname: String,
    /// Where the machine is had.
    pub provider: String,
    /// How long the run took, in seconds.
    pub seconds: u64,
    /// The steps, and how long each took in seconds.
    pub steps: Vec<(&'static str, u64)>,
    /// File with the password of the admin API.
    pub password: String,
}

impl Summary {
    pub(super) fn new(
        deployment: &Deployment,
        took: Duration,
        steps: Vec<(&'static str, u64)>,
    ) -> Result<Self> {
        let host = deployment.host()?;
        Ok(Self {
            name: deployment.name().to_owned(),
            hostname: host.hostname,
            provider: host.provider,
            seconds: took.as_secs(),
            steps,
            password: deployment.file("secrets/admin-password").display().to_string(),
        })
    }

    /// What the bandwidth of this provider means.
    fn traffic(&self) -> &'static str {
        match &*self.provider {
            "hetzner-cloud" => {
                "traffic is counted there; beyond what the server includes each TB is paid for"
            }
            "hetzner-robot" | "ovh-baremetal" => {
                "servers that are rented have traffic without a count, up to the speed of their link"
            }
            _ => "see what your provider includes",
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, hostname) = (&self.name, &self.hostname);
        writeln!(out, "{hostname} is live, {} s after the start.\n", self.seconds)?;
        writeln!(
            out,
            "firehose   wss://{hostname}/xrpc/com.atproto.sync.subscribeRepos\n\
             admin      just dash {name}    (user admin, password in {})\n\
             bandwidth  some 30 Mbit/s in, and 30 Mbit/s or 9.7 TB a month for each whole consumer;\n\
             {:11}{}\n\
             cost       that of the machine; the relay itself needs no other service\n",
            self.password,
            "",
            self.traffic()
        )?;
        write!(
            out,
            "next       just status {name}                 what it does now\n\
             {0:11}just backup {name} --fetch         a copy on this side; keep deployments/{name} too\n\
             {0:11}just selfcheck {name} --after 24h  whether it has all hosts by then\n\
             {0:11}just upgrade {name}                another version, and back when it is not well",
            ""
        )
    }
}
