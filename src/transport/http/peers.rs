//! Who is connected: how many in all, and how many from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The address of the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Peer(pub(super) IpAddr);

/// The connections.
pub(super) struct Peers {
    most: usize,
    most_each: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// One connection's place, given up on drop.
pub(super) struct Place {
    peers: Arc<Peers>,
    counted: Option<IpAddr>,
}

impl Peer {
    /// The address that stands for whoever is there: an IPv6 caller has a whole /64 to itself.
    pub(super) fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }

    pub(super) fn is_loopback(self) -> bool {
        self.0.to_canonical().is_loopback()
    }
}

impl Peers {
    pub(super) fn new(most: usize, most_each: usize) -> Self {
        Self { most, most_each, counts: Mutex::default() }
    }

    /// Takes a place; `None` if all are taken. All callers on this machine, or behind one proxy, share an address, so
    /// `together` are counted in all alone.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer, together: bool) -> Option<Place> {
        let mut counts = self.counts();
        if counts.all >= self.most {
            return None;
        }
        let counted = (!together).then(|| peer.network());
        if let Some(address) = counted {
            let mine = counts.each.entry(address).or_default();
            if *mine >= self.most_each {
                return None;
            }
            *mine += 1;
        }
        counts.all += 1;
        Some(Place { peers: Arc::clone(self), counted })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.counts().all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        counts.all = counts.all.saturating_sub(1);
        if let Some(address) = self.counted
            && let Some(mine) = counts.each.get_mut(&address)
        {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                counts.each.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer(text.parse().unwrap())
    }

    #[test]
    fn an_address_gets_its_share_and_no_more_and_gives_it_back() {
        let peers = Arc::new(Peers::new(5, 2));
        let first = peers.enter(peer("192.0.2.1"), false);
        let second = peers.enter(peer("::ffff:192.0.2.1"), false);
        assert!(first.is_some() && second.is_some());
        assert!(peers.enter(peer("192.0.2.1"), false).is_none());
        let others: Vec<_> = (0..9).filter_map(|n| peers.enter(peer(&format!("192.0.2.{}", n + 2)), false)).collect();
        assert_eq!((others.len(), peers.count()), (3, 5));

        drop((first, others));
        assert!(peers.enter(peer("192.0.2.1"), false).is_some());
        assert!(peers.enter(peer("127.0.0.1"), true).is_some());
        drop(second);
        assert_eq!((peers.count(), peers.counts().each.len()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_peer() {
        assert_eq!(peer("2001:db8::1").network(), peer("2001:db8::ffff:2").network());
        assert_ne!(peer("2001:db8::1").network(), peer("2001:db8:0:1::1").network());
    }
}
