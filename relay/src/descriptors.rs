//! File descriptors: how many this process may have, and who gets how many of them.
//!
//! A log that cannot open its next file ends the process, so files never have to ask; a host that is
//! not read is worse than a client that is sent away, so hosts come before clients. What is fixed here
//! is kept by those who open sockets: `upstream` for hosts, `api` for clients.

use std::sync::LazyLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of the log, the database, the listeners and the runtime: some 40 are open at any time.
const FILES: usize = 64;
/// Of requests that we make ourselves, for identities, statuses and names, and of those who look after
/// the relay; each lasts a moment.
const REQUESTS: usize = 64;
/// Clients get so many whatever the number of hosts, or nobody could ask what is wrong.
const CLIENTS_MIN: usize = 16;

static LIMIT: LazyLock<usize> = LazyLock::new(raise);

/// Raises the limit of this process as far as it may, and gives it.
fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "the limit of file descriptors stays as it is");
    }
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// File descriptors that this process may have.
pub fn limit() -> usize {
    *LIMIT
}

/// Most hosts that may be connected at once.
pub fn for_hosts() -> usize {
    share_of_hosts(limit())
}

/// Most clients at once, requests and consumers together, beside so many known hosts.
pub fn for_clients(hosts: usize) -> usize {
    share_of_clients(limit(), hosts)
}

/// The limit that so many hosts and a usual number of clients need.
pub fn needed_for(hosts: usize) -> usize {
    hosts.saturating_add(FILES + REQUESTS).saturating_add(2_000)
}

fn share_of_hosts(limit: usize) -> usize {
    limit.saturating_sub(FILES + REQUESTS + CLIENTS_MIN).max(1)
}

fn share_of_clients(limit: usize, hosts: usize) -> usize {
    limit.saturating_sub(FILES + REQUESTS).saturating_sub(hosts).max(CLIENTS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I5: with any limit that can work, the shares leave files and requests their own.
    #[test]
    fn hosts_and_clients_leave_enough_for_files() {
        for limit in [200, 256, 1_024, 1 << 20] {
            for hosts in [0, 50, 3_000] {
                let connected = hosts.min(share_of_hosts(limit));
                let all = connected + share_of_clients(limit, hosts) + FILES + REQUESTS;
                assert!(all <= limit, "{limit} {hosts}: {all}");
            }
        }
        assert_eq!(share_of_clients(200, 50), 22);
        assert_eq!(share_of_hosts(1_024), 880);
    }
}
