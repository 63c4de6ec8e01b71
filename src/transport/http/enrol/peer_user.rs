//! Whether the other end of a loopback connection belongs to the user who runs this process. Linux reports the owner of
//! each socket; on other systems the owner is unknown, and the person types a phrase instead.

use crate::transport::http::listener::Ends;

/// Whether the client's socket belongs to the user of this process; `None` if that can't be determined.
#[cfg(target_os = "linux")]
pub(super) fn is_same_user(ends: Ends) -> Option<bool> {
    // The kernel writes its tables in pieces, and may leave a row out while others come and go.
    const LOOKS: usize = 3;
    (0..LOOKS).find_map(|_| look(ends))
}

#[cfg(target_os = "linux")]
fn look(ends: Ends) -> Option<bool> {
    use std::{
        fs::File,
        io::{BufRead as _, BufReader},
    };

    if !ends.theirs.ip().is_loopback() {
        return None;
    }
    let own = rustix::process::geteuid().as_raw();
    // A client may use a socket of either family for an IPv4 address.
    for (table, written) in [("/proc/self/net/tcp", table::v4 as table::Written), ("/proc/self/net/tcp6", table::v6)] {
        let (Some(theirs), Some(ours)) = (written(ends.theirs), written(ends.ours)) else { continue };
        let Ok(file) = File::open(table) else { continue };
        // The row of the client's own socket: its local address is the one that is remote to us.
        let mut rows = BufReader::new(file).lines().map_while(Result::ok);
        let owner = rows.find_map(|row| table::owner(&row, &theirs, &ours));
        if let Some(owner) = owner {
            return Some(owner == own);
        }
    }
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) const fn is_same_user(_: Ends) -> Option<bool> {
    None
}

/// The kernel's table of sockets.
#[cfg(target_os = "linux")]
mod table {
    use std::net::{IpAddr, SocketAddr};

    /// Writes an address as a table does; `None` if the table can't hold it.
    pub(super) type Written = fn(SocketAddr) -> Option<String>;

    /// The state of a connection that both ends have open. A socket that no process has open any more has no owner, and
    /// is shown as root's.
    const ESTABLISHED: &str = "01";

    pub(super) fn v4(address: SocketAddr) -> Option<String> {
        let IpAddr::V4(ip) = address.ip().to_canonical() else { return None };
        Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "the other table can't write every address")]
    pub(super) fn v6(address: SocketAddr) -> Option<String> {
        let octets = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let word = |four: &[u8]| four.try_into().map(u32::from_ne_bytes).unwrap_or_default();
        let words: Vec<_> = octets.chunks(4).map(|four| format!("{:08X}", word(four))).collect();
        Some(format!("{}:{:04X}", words.concat(), address.port()))
    }

    /// The owner of the socket in a row, if it is the one between these two addresses.
    pub(super) fn owner(row: &str, local: &str, remote: &str) -> Option<u32> {
        let mut columns = row.split_ascii_whitespace().skip(1);
        let is_it = columns.next()? == local && columns.next()? == remote && columns.next()? == ESTABLISHED;
        // Then come the queues, the timer and the retransmissions.
        if is_it { columns.nth(3)?.parse().ok() } else { None }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_row_is_found_by_both_ends_and_only_while_it_is_open() {
            let client: SocketAddr = "127.0.0.1:41234".parse().unwrap();
            let server: SocketAddr = "127.0.0.1:8787".parse().unwrap();
            let row = |state: &str| {
                format!(
                    "  12: 0100007F:A112 0100007F:2253 {state} 00000000:00000000 00:00000000 00000000  1000        0 4711 1"
                )
            };
            let [theirs, ours] = [client, server].map(|address| v4(address).unwrap());

            assert_eq!(owner(&row("01"), &theirs, &ours), Some(1000));
            assert_eq!(owner(&row("08"), &theirs, &ours), None, "half closed");
            assert_eq!(owner(&row("01"), &ours, &theirs), None, "the other way round");
            assert_eq!(owner("  sl  local_address rem_address   st", &theirs, &ours), None);
            assert_eq!(v6(client).unwrap(), "0000000000000000FFFF00000100007F:A112");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_process_is_of_the_same_user() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, theirs) = listener.accept().unwrap();

        let ends = Ends { theirs, ours: server.local_addr().unwrap() };
        assert_eq!(is_same_user(ends), Some(true));

        drop(client);
        let gone = "127.0.0.1:1".parse().unwrap();
        assert_eq!(is_same_user(Ends { theirs: gone, ..ends }), None);
    }
}
