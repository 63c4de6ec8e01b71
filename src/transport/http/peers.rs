//! Connections: how many there are in total and from one address, and which one is closed to make room.
//!
//! A connection is cheap to open and to leave idle, so connections whose last request had a valid credential are
//! preferred: when no place is free, the oldest stranger is closed. A client that fills the server with idle
//! connections only displaces its own. Each key has a share, so that its holder can't fill the server either.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    places::{self, Places},
    settings::Limits,
};
use crate::{
    operations::{Limit, Refusal},
    transport::owner::Owner,
};

/// How long a caller with too many connections should wait before it tries again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The address of the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Peer(pub(super) IpAddr);

/// The connections.
pub(super) struct Peers {
    most: usize,
    most_each: usize,
    /// The shares of keys.
    shares: Arc<Places>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    all: usize,
    each: HashMap<IpAddr, usize>,
    /// Connections whose last request had no valid credential, or that have sent none, oldest first.
    strangers: BTreeMap<u64, Stranger>,
    next: u64,
}

#[derive(Clone)]
struct Stranger {
    address: Option<IpAddr>,
    leave: CancellationToken,
}

/// The place of one connection, released on drop.
pub(super) struct Place {
    peers: Arc<Peers>,
    number: u64,
    who: Stranger,
    known: Mutex<Option<Authenticated>>,
}

/// A connection with a valid credential.
enum Authenticated {
    /// It belongs to one key, whose share it is part of.
    Holder(places::Place),
    /// It comes from a proxy, which distributes its connections over all callers.
    Proxied,
}

/// The result of a new connection.
pub(super) enum Entry {
    /// A place was free.
    Free(Place),
    /// A stranger was closed to make room.
    Instead(Place),
    /// No place is free, and no stranger can be closed.
    Full,
}

impl Peer {
    /// The address under which a connection is counted: an IPv6 client has a whole /64.
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
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            most: limits.connections,
            most_each: limits.connections_per_address,
            shares: Places::new(usize::MAX, limits.connections_per_key),
            book: Mutex::default(),
        }
    }

    /// Takes a place. `leave` is cancelled when another connection needs it. Callers on this machine, or behind one
    /// proxy, share an address, so with `together` they only count in total.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer, together: bool, leave: CancellationToken) -> Entry {
        let mut book = self.book();
        let address = (!together).then(|| peer.network());
        let mine = address.and_then(|address| book.each.get(&address)).copied().unwrap_or_default();
        let share_is_used_up = mine >= self.most_each;
        let crowded = share_is_used_up || book.all >= self.most;
        // If an address has used up its share, only its own connections can make room.
        if crowded && !book.turn_out(|stranger| !share_is_used_up || stranger.address == address) {
            return Entry::Full;
        }
        let who = Stranger { address, leave };
        let place = Place { peers: Arc::clone(self), number: book.next, who: who.clone(), known: Mutex::default() };
        book.enter(who);
        if crowded { Entry::Instead(place) } else { Entry::Free(place) }
    }

    /// Closes a stranger when the system has no more sockets; returns whether there was one.
    pub(super) fn make_room(&self) -> bool {
        self.book().turn_out(|_| true)
    }

    /// The number of connections.
    pub(super) fn count(&self) -> usize {
        self.book().all
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn enter(&mut self, who: Stranger) {
        let address = who.address;
        self.strangers.insert(self.next, who);
        self.next += 1;
        self.all += 1;
        if let Some(address) = address {
            *self.each.entry(address).or_default() += 1;
        }
    }

    fn leave(&mut self, address: Option<IpAddr>) {
        self.all = self.all.saturating_sub(1);
        if let Some(address) = address
            && let Some(mine) = self.each.get_mut(&address)
        {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                self.each.remove(&address);
            }
        }
    }

    /// Closes the oldest stranger of those that match; its place is free at once.
    fn turn_out(&mut self, who: impl Fn(&Stranger) -> bool) -> bool {
        let longest = self.strangers.iter().find(|(_, stranger)| who(stranger)).map(|(number, _)| *number);
        let Some(stranger) = longest.and_then(|number| self.strangers.remove(&number)) else { return false };
        stranger.leave.cancel();
        self.leave(stranger.address);
        true
    }
}

impl Peers {
    /// Takes a part of a key's share for a request, when a proxy distributes the connections.
    ///
    /// # Errors
    /// `rate_limited` if the share is used up.
    pub(super) fn share(&self, owner: Owner) -> Result<places::Place, Refusal> {
        self.shares.take(owner).ok_or(Refusal::RateLimited { limit: Limit::Connections, after: AGAIN_AFTER })
    }
}

impl Place {
    /// Records that the connection has sent this caller's valid credential.
    ///
    /// # Errors
    /// `rate_limited` if the caller has too many connections; this one is unchanged.
    pub(super) fn recognise(&self, owner: Owner) -> Result<(), Refusal> {
        let mut known = self.known();
        match &*known {
            Some(Authenticated::Holder(share)) if share.owner() == owner => Ok(()),
            // The connection is being closed, so it has no place any more.
            None if self.who.leave.is_cancelled() => Ok(()),
            _ => {
                let share = self.peers.share(owner)?;
                self.admit(&mut known, Authenticated::Holder(share));
                Ok(())
            }
        }
    }

    /// Records that a proxy has forwarded a valid credential.
    pub(super) fn recognise_proxy(&self) {
        let mut known = self.known();
        if known.is_none() {
            self.admit(&mut known, Authenticated::Proxied);
        }
    }

    /// Records that the connection has sent a request without a valid credential.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        if known.take().is_some() {
            self.peers.book().strangers.insert(self.number, self.who.clone());
        }
    }

    fn admit(&self, known: &mut Option<Authenticated>, who: Authenticated) {
        // A stranger that is being closed has already released its place.
        if known.is_some() || self.peers.book().strangers.remove(&self.number).is_some() {
            *known = Some(who);
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Authenticated>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let was_known = self.known().take().is_some();
        let mut book = self.peers.book();
        // A stranger that is being closed has already released its place.
        if book.strangers.remove(&self.number).is_some() || was_known {
            book.leave(self.who.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        ids::{AccountId, SeatId},
        principal::Principal,
        scope::ScopeSet,
    };

    fn peers(connections: usize, connections_per_address: usize) -> Arc<Peers> {
        let connections_per_key = 3;
        Arc::new(Peers::new(Limits { connections, connections_per_address, connections_per_key, ..Limits::default() }))
    }

    fn owner(seat: u128) -> Owner {
        let account = AccountId::new(Uuid::from_u128(1));
        Owner::of(&Principal::stdio(account, ScopeSet::ALL, Some(SeatId::new(Uuid::from_u128(seat)))))
    }

    fn peer(text: &str) -> Peer {
        Peer(text.parse().unwrap())
    }

    fn enter(peers: &Arc<Peers>, address: &str, together: bool) -> (Entry, CancellationToken) {
        let leave = CancellationToken::new();
        (peers.enter(peer(address), together, leave.clone()), leave)
    }

    /// A place of a connection with a valid credential, if a place is free; each connection has another key.
    fn known(peers: &Arc<Peers>, address: &str) -> Option<Place> {
        let (Entry::Free(place) | Entry::Instead(place), _) = enter(peers, address, false) else { return None };
        place.recognise(owner(u128::from(place.number) + 100)).unwrap();
        Some(place)
    }

    #[test]
    fn an_address_gets_its_share_and_no_more_and_gives_it_back() {
        let peers = peers(5, 2);
        let first = known(&peers, "192.0.2.1");
        let second = known(&peers, "::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(known(&peers, "192.0.2.1").is_none());
        let others: Vec<_> = (0..9).filter_map(|n| known(&peers, &format!("192.0.2.{}", n + 2))).collect();
        assert_eq!((others.len(), peers.count()), (3, 5));

        drop((first, others));
        assert!(known(&peers, "192.0.2.1").is_some());
        assert!(matches!(enter(&peers, "127.0.0.1", true).0, Entry::Free(_)));
        drop(second);
        let book = peers.book();
        assert_eq!((book.all, book.each.len(), book.strangers.len()), (0, 0, 0));
    }

    #[test]
    fn the_stranger_who_was_there_longest_makes_room_and_nobody_else() {
        let peers = peers(3, 3);
        let regular = known(&peers, "192.0.2.1").unwrap();
        let (first, first_leaves) = enter(&peers, "192.0.2.2", false);
        let (second, second_leaves) = enter(&peers, "127.0.0.1", true);

        let (third, _) = enter(&peers, "192.0.2.3", false);

        assert!(matches!(third, Entry::Instead(_)));
        assert!(first_leaves.is_cancelled() && !second_leaves.is_cancelled());
        assert_eq!(peers.count(), 3);
        drop(first);
        assert_eq!(peers.count(), 3, "its place was given away already");
        assert!(peers.make_room() && second_leaves.is_cancelled() && peers.make_room());
        assert!(!peers.make_room(), "who has shown a right credential stays");
        drop((second, third, regular));
        assert_eq!((peers.count(), peers.book().each.len()), (0, 0));
    }

    #[test]
    fn an_address_makes_room_within_its_own_share() {
        let peers = peers(9, 1);
        let (_other, other_leaves) = enter(&peers, "192.0.2.2", false);
        let (_mine, mine_leaves) = enter(&peers, "192.0.2.1", false);

        let (next, _) = enter(&peers, "192.0.2.1", false);

        assert!(matches!(next, Entry::Instead(_)) && mine_leaves.is_cancelled() && !other_leaves.is_cancelled());
        assert_eq!(peers.count(), 2);
    }

    #[test]
    fn who_shows_no_right_credential_any_more_is_a_stranger_again() {
        let peers = peers(2, 2);
        let (Entry::Free(revoked), leaves) = enter(&peers, "192.0.2.1", false) else { panic!("there is room") };
        revoked.recognise(owner(1)).unwrap();
        let regular = known(&peers, "192.0.2.2").unwrap();
        assert!(matches!(enter(&peers, "192.0.2.3", false).0, Entry::Full));

        revoked.forget();
        let (next, _) = enter(&peers, "192.0.2.3", false);

        assert!(matches!(next, Entry::Instead(_)) && leaves.is_cancelled());
        revoked.recognise(owner(1)).unwrap();
        revoked.forget();
        drop((revoked, next, regular));
        assert_eq!((peers.count(), peers.shares.count(), peers.book().strangers.len()), (0, 0, 0));
    }

    #[test]
    fn a_key_has_a_share_of_the_connections_and_what_it_leaves_is_free_again() {
        let peers = peers(9, 9);
        let places: Vec<_> = (0..4)
            .filter_map(|_| match enter(&peers, "192.0.2.1", true).0 {
                Entry::Free(place) | Entry::Instead(place) => Some(place),
                Entry::Full => None,
            })
            .collect();

        let known: Vec<_> = places.iter().map(|place| place.recognise(owner(1)).is_ok()).collect();
        assert_eq!(known, [true, true, true, false]);
        assert!(places[0].recognise(owner(1)).is_ok(), "it is its own already");
        assert!(places[3].recognise(owner(2)).is_ok(), "another key has its own share");

        places[0].forget();
        assert!(places[3].recognise(owner(1)).is_ok(), "a connection is part of the share of the key shown last");
        places[1].recognise_proxy();
        drop(places);
        assert_eq!((peers.count(), peers.shares.count()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_addresses_is_one_peer() {
        assert_eq!(peer("2001:db8::1").network(), peer("2001:db8::ffff:2").network());
        assert_ne!(peer("2001:db8::1").network(), peer("2001:db8:0:1::1").network());
    }
}
