//! Stands in for the server in a build without the feature `serve`: it has no settings, so it is never run.

use std::future::Ready;

use super::Fatal;
use crate::{
    config::{Config, ServeConfig},
    transport::cli::Ending,
};

pub(super) const fn for_remote(_: &Config, serve: &ServeConfig) -> Ready<Result<Ending, Fatal>> {
    match *serve {}
}
