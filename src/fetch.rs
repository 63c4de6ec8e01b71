//! The HTTP client for requests to others: to a provider for its keys, to a collector of traces.
//!
//! Never here: the contents of a request, or its destination.

use std::{sync::Arc, time::Duration};

use rustls::crypto::aws_lc_rs;
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig},
};

/// A client over TLS, with the roots that the system trusts. A status of 400 or above is an error.
pub fn agent(in_clear: bool, redirects: u32, wait: Duration) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build();
    let config = Agent::config_builder().tls_config(tls).https_only(!in_clear).max_redirects(redirects);
    config.timeout_global(Some(wait)).max_response_header_size(16 * 1024).build().new_agent()
}
