//! Texts that describe why a server can't be used, with the remedy. Its own messages are not shown: they may quote
//! values.

use std::io;

use rustls::CertificateError;
use tokio_postgres::error::SqlState;

use super::{
    address::{Node, Tls},
    link::Failure,
};

/// The remedy if a pooler lost prepared statements.
const POOLER: &str = "a pooler gives its connections away by the transaction and loses prepared statements; add `prepare=never` to the address";

/// Describes why a connection could not be made.
pub(super) fn of_connecting(cause: &tokio_postgres::Error, node: &Node) -> String {
    if let Some(code) = cause.code() {
        return of_refusal(code, node);
    }
    if let Some(certificate) = causes(cause).find_map(certificate) {
        return of_certificate(certificate);
    }
    let mut words = cause.to_string();
    for next in causes(cause) {
        let more = next.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
    }
    let remedy = if words.contains("does not support TLS") {
        "; switch TLS on at the server (`ssl = on`), or name `sslmode=disable` if nobody else is on the network path"
    } else if words.contains("does not allow writes") {
        "; it is a standby, or was set to be only read: name the primary, or all hosts of the cluster"
    } else if causes(cause).any(<dyn std::error::Error>::is::<io::Error>) {
        "; see that host and port are right and that the server runs"
    } else {
        ""
    };
    words + remedy
}

/// Describes why a server, or a pooler before it, refused a connection.
fn of_refusal(code: &SqlState, node: &Node) -> String {
    let words = match code {
        code if *code == SqlState::INVALID_PASSWORD => {
            "the server refuses the user or the password; see the user in the address, and the password there or in the file of \
             `passfile`"
        }
        code if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => match node.tls {
            Tls::Off => {
                "the server does not let this user in from here without TLS; see the user in the address and the server's \
                 pg_hba.conf, and leave `sslmode=disable` out if it wants TLS"
            }
            Tls::Verified(_) => {
                "the server does not let this user in from here; see the user in the address and the server's pg_hba.conf, and that \
                 nothing on the way ends TLS"
            }
        },
        code if *code == SqlState::INVALID_CATALOG_NAME => {
            "there is no such database; see the name in the address, or make it with `createdb`"
        }
        code if *code == SqlState::TOO_MANY_CONNECTIONS => "the server has too many connections",
        code if *code == SqlState::CANNOT_CONNECT_NOW => "the server is starting, stopping or recovering",
        code if *code == SqlState::PROTOCOL_VIOLATION => {
            "a pooler refuses the connection; see that it knows this database and user, and that its server runs"
        }
        code => return format!("the server refuses the connection ({})", code.code()),
    };
    words.to_owned()
}

/// The causes of an error, in turn. An I/O error hides the error that it carries.
fn causes<'a>(cause: &'a tokio_postgres::Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(cause), |next| {
        let carried = next.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match carried {
            Some(carried) => Some(carried as &(dyn std::error::Error + 'static)),
            None => next.source(),
        }
    })
}

fn certificate<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a CertificateError> {
    match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(why),
        _ => None,
    }
}

fn of_certificate(why: &CertificateError) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet,
        NotValidYetContext, UnknownIssuer,
    };
    // A bad signature is one by an authority of the same name, such as one that has a new key.
    if matches!(why, UnknownIssuer | BadSignature) {
        "the server's certificate comes from an authority that is not trusted here; name that authority's PEM file with \
         `sslrootcert`"
            .to_owned()
    } else if matches!(why, Expired | ExpiredContext { .. }) {
        "the server's certificate has expired; renew it, and see that this machine's clock is right".to_owned()
    } else if matches!(why, NotValidYet | NotValidYetContext { .. }) {
        "the server's certificate is not valid yet; see that the clocks of both machines are right".to_owned()
    } else if matches!(why, NotValidForName | NotValidForNameContext { .. }) {
        format!(
            "the server's certificate is for another name ({why}); name the host as its certificate does, or give it one for \
             this name"
        )
    } else {
        format!("the server's certificate can't be trusted ({why}); give it another one")
    }
}

/// Describes why a statement was refused.
pub(super) fn of_statement(code: &SqlState) -> String {
    let words = match code.code() {
        "42501" => {
            "its role lacks a right on the vault's tables or, to make them, on the schema; let the role own the database, or grant \
             it what docs/operate.md lists"
        }
        "53100" => "its disk is full",
        "42P01" => "a table of the vault is missing; `countersign vault status` says whether it was moved",
        "42P05" | "26000" => POOLER,
        _ => "it refused a statement",
    };
    format!("{words} ({})", code.code())
}

/// Describes a failure.
pub(super) fn of_failure(cause: &Failure) -> String {
    match cause {
        Failure::Refused(code) => of_statement(code),
        Failure::Lost(why) => why.clone(),
    }
}
