//! TLS by rustls, from PEM files that may change under a running server: a renewed certificate is taken up, a broken one
//! is not.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;

use super::settings::TlsFiles;
use crate::domain::sensitive::without_seeds;

/// The flags that name the files.
const CERTIFICATE: &str = "--tls-cert";
const KEY: &str = "--tls-key";
/// How often the files are looked at, at most.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Why a certificate or key can't be used. It names the flag and the file, but for what looks like a seed in its path, and
/// never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds no certificate or key in PEM form.
    #[error("{flag} {}: {what}; it must be a PEM file that this user can read", without_seeds(.path))]
    File {
        /// Which flag.
        flag: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The certificate and the key don't fit each other, or are of a kind that is not supported.
    #[error("the TLS certificate and key can't be used together: {0}")]
    Pair(rustls::Error),
}

/// The certificate in use.
pub(super) struct Tls {
    files: TlsFiles,
    in_use: Mutex<InUse>,
}

struct InUse {
    acceptor: TlsAcceptor,
    stamp: Option<Stamp>,
    looked_at: Instant,
}

/// What tells that a file was replaced: time and size of both.
type Stamp = [(SystemTime, u64); 2];

impl Tls {
    /// Reads certificate and key.
    pub(super) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let stamp = stamp(&files);
        let acceptor = acceptor(&files)?;
        Ok(Self { files, in_use: Mutex::new(InUse { acceptor, stamp, looked_at: Instant::now() }) })
    }

    /// What a new connection is accepted with: the newest certificate that works.
    pub(super) fn acceptor(&self, now: Instant) -> TlsAcceptor {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(in_use.looked_at) >= CHECK_EVERY {
            in_use.looked_at = now;
            let stamp = stamp(&self.files);
            if stamp.is_some() && stamp != in_use.stamp {
                // Remembered even if it does not work: one line in the log for each change, not one a second.
                in_use.stamp = stamp;
                match acceptor(&self.files) {
                    Ok(renewed) => {
                        in_use.acceptor = renewed;
                        tracing::info!("the TLS certificate was read anew");
                    }
                    Err(cause) => tracing::error!(%cause, "the new TLS certificate does not work; the old one stays"),
                }
            }
        }
        in_use.acceptor.clone()
    }
}

fn stamp(files: &TlsFiles) -> Option<Stamp> {
    let of = |path: &Path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    Some([of(&files.certificates)?, of(&files.key)?])
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let file = |flag, path: &Path, what: String| TlsError::File { flag, path: path.to_owned(), what };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect)
        .map_err(|cause| file(CERTIFICATE, &files.certificates, cause.to_string()))?;
    if chain.is_empty() {
        return Err(file(CERTIFICATE, &files.certificates, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| file(KEY, &files.key, cause.to_string()))?;
    // The provider is named, so that nothing depends on which crate installed a default first.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
