//! How many consumers there may be, in all and per address, and how often one may come (SEC-4, SEC-7).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Addresses whose rate is remembered; the least recent one is forgotten first.
const ADDRESSES_MAX: NonZeroUsize = match NonZeroUsize::new(10_000) {
    Some(count) => count,
    None => NonZeroUsize::MIN,
};

/// One client as limits see it: an IPv4 address, or the /64 network of an IPv6 one, because that is
/// what a single customer has.
pub fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// At most so many calls of one client per span, in fixed spans; bounded in memory.
#[derive(Debug)]
pub struct ClientRate {
    calls_max: u32,
    span: Duration,
    clients: Mutex<LruCache<IpAddr, (Instant, u32)>>,
}

impl ClientRate {
    /// `calls_max` per `span` and client.
    pub fn new(calls_max: u32, span: Duration) -> Self {
        Self { calls_max, span, clients: Mutex::new(LruCache::new(ADDRESSES_MAX)) }
    }

    /// Counts one call.
    ///
    /// # Errors
    /// How long until the next one is taken.
    pub fn take(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut clients = self.clients.lock();
        let (since, calls) = clients.get_or_insert_mut(client_key(client), || (now, 0));
        let elapsed = now.duration_since(*since);
        if elapsed >= self.span {
            (*since, *calls) = (now, 0);
        }
        if *calls >= self.calls_max {
            return Err(self.span.saturating_sub(elapsed));
        }
        *calls = calls.saturating_add(1);
        Ok(())
    }
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All seats are taken.
    Total,
    /// The client has all that one client may have.
    Client,
}

/// The seats of all consumers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Seats {
    inner: Arc<Mutex<Taken>>,
    total_max: usize,
    per_client_max: usize,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    /// Bounded by `total_max`: a client without a seat has no entry.
    clients: HashMap<IpAddr, usize>,
}

impl Seats {
    /// Empty seats.
    pub fn new(total_max: usize, per_client_max: usize) -> Self {
        Self { inner: Arc::default(), total_max, per_client_max }
    }

    /// Seats that are taken now.
    pub fn taken(&self) -> usize {
        self.inner.lock().total
    }

    /// Takes a seat until the answer is dropped. `shared` clients (a proxy of ours) have no limit of
    /// their own.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(&self, client: IpAddr, shared: bool) -> Result<Seat, Full> {
        let client = client_key(client);
        let mut taken = self.inner.lock();
        if taken.total >= self.total_max {
            return Err(Full::Total);
        }
        let of_client = taken.clients.get(&client).copied().unwrap_or(0);
        if !shared && of_client >= self.per_client_max {
            return Err(Full::Client);
        }
        taken.total = taken.total.saturating_add(1);
        taken.clients.insert(client, of_client.saturating_add(1));
        Ok(Seat { seats: Arc::clone(&self.inner), client })
    }
}

/// One taken seat.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Mutex<Taken>>,
    client: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(count) = taken.clients.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_one_customer() {
        assert_eq!(client_key(ip("192.0.2.1")), ip("192.0.2.1"));
        assert_eq!(client_key(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_eq!(client_key(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_ne!(client_key(ip("2001:db8:1:3::1")), client_key(ip("2001:db8:1:2::1")));
    }

    /// SEC-4: both limits, and a seat that was left is free again.
    #[test]
    fn seats_are_limited_in_all_and_per_client_and_come_back() {
        let seats = Seats::new(3, 2);
        let (one, two) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let first = seats.take(one, false).unwrap();
        let _second = seats.take(one, false).unwrap();
        assert_eq!(seats.take(one, false).unwrap_err(), Full::Client);
        let _third = seats.take(two, false).unwrap();
        assert_eq!(seats.take(two, false).unwrap_err(), Full::Total);

        drop(first);
        let _fourth = seats.take(one, false).unwrap();
    }

    #[test]
    fn a_shared_address_has_only_the_limit_of_all() {
        let seats = Seats::new(3, 1);
        let proxy = ip("127.0.0.1");
        let _held: Vec<_> = (0..3).map(|_| seats.take(proxy, true).unwrap()).collect();
        assert_eq!(seats.take(proxy, true).unwrap_err(), Full::Total);
    }

    /// SEC-7.
    #[test]
    fn a_client_may_come_so_often_per_span_and_others_are_not_touched() {
        let start = Instant::now();
        let rate = ClientRate::new(2, Duration::from_mins(1));
        assert_eq!(rate.take(ip("192.0.2.1"), start), Ok(()));
        assert_eq!(rate.take(ip("192.0.2.1"), start), Ok(()));
        let later = start + Duration::from_secs(20);
        assert_eq!(rate.take(ip("192.0.2.1"), later), Err(Duration::from_secs(40)));
        assert_eq!(rate.take(ip("192.0.2.2"), later), Ok(()));
        assert_eq!(rate.take(ip("192.0.2.1"), start + Duration::from_mins(1)), Ok(()));
    }
}
