//! A server under test over HTTP.

use std::{
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    process::Stdio,
    thread,
};

use super::connection::Connection;
use crate::process::{Program, Running};

/// A running server.
pub(crate) struct Server {
    pub(crate) process: Running,
    address: SocketAddr,
}

impl Server {
    /// Starts the server, and waits until it prints the address it listens on.
    pub(crate) fn start(program: &Program) -> io::Result<Self> {
        let child = program.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut process = Running(child);
        let said = process.0.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        let mut said = BufReader::new(said);
        let mut line = String::new();
        let address = loop {
            line.clear();
            if said.read_line(&mut line)? == 0 {
                return Err(io::Error::other("the server ended before it listened"));
            }
            if let Some(address) = line.trim_end().strip_prefix("listening on http://") {
                break address.parse().map_err(io::Error::other)?;
            }
        };
        // The rest of its standard error is passed on, so that the server does not block on a full pipe.
        thread::spawn(move || io::copy(&mut said, &mut io::stderr()));
        Ok(Self { process, address })
    }

    pub(crate) fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.address)
    }
}
