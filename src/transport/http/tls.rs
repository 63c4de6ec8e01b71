//! TLS with rustls, from PEM files that may change while the server runs: a renewed certificate is loaded, a broken one
//! is ignored. No handshake waits for the files: they are read in another task.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::settings::TlsFiles;
use crate::domain::sensitive::without_seeds;

/// The flags that name the files.
const CERTIFICATE: &str = "--tls-cert";
const KEY: &str = "--tls-key";
/// The shortest interval between checks of the files.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The most bytes read from a file: a chain has a few thousand.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a certificate or key can't be used. The error names the flag and the file, without parts of its path that look
/// like a seed, and never quotes the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds no certificate or key in PEM form.
    #[error("{flag} {}: {what}; it must be a PEM file that this user can read", without_seeds(.path))]
    File {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The problem with the file.
        what: String,
    },
    /// The certificate and the key don't match, or are of an unsupported kind.
    #[error("the TLS certificate and key can't be used together: {0}")]
    Pair(rustls::Error),
}

/// The certificate in use.
#[derive(Clone)]
pub(super) struct Tls(Arc<Certificate>);

struct Certificate {
    files: TlsFiles,
    in_use: Mutex<InUse>,
}

struct InUse {
    acceptor: TlsAcceptor,
    stamp: Option<Stamp>,
    looked_at: Instant,
    /// Whether the files are being checked.
    looking: bool,
}

/// The times and sizes of both files, by which a replaced file is noticed.
type Stamp = [(SystemTime, u64); 2];

impl Tls {
    /// Reads certificate and key.
    pub(super) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let stamp = stamp(&files);
        let acceptor = acceptor(&files)?;
        let in_use = InUse { acceptor, stamp, looked_at: Instant::now(), looking: false };
        Ok(Self(Arc::new(Certificate { files, in_use: Mutex::new(in_use) })))
    }

    /// The acceptor for a new connection, with the newest working certificate. Starts a check of the files at
    /// intervals.
    pub(super) fn acceptor(&self, now: Instant) -> TlsAcceptor {
        let mut in_use = self.0.in_use();
        if !in_use.looking && now.saturating_duration_since(in_use.looked_at) >= CHECK_EVERY {
            (in_use.looked_at, in_use.looking) = (now, true);
            let certificate = Arc::clone(&self.0);
            tokio::task::spawn_blocking(move || certificate.look());
        }
        in_use.acceptor.clone()
    }
}

impl Tls {
    /// Reads the files again, whether they seem to have changed or not.
    pub(super) fn read_again(&self) {
        self.0.in_use().stamp = None;
        let certificate = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || certificate.look());
    }
}

impl Certificate {
    fn in_use(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the files if they have changed.
    fn look(&self) {
        let known = self.in_use().stamp;
        let stamp = stamp(&self.files).filter(|stamp| Some(*stamp) != known);
        let renewed = stamp.map(|_| acceptor(&self.files));
        let mut in_use = self.in_use();
        in_use.looking = false;
        // Remember the stamp even if the files don't work: one log line for each change, not one a second.
        in_use.stamp = stamp.or(known);
        match renewed {
            None => {}
            Some(Ok(renewed)) => {
                in_use.acceptor = renewed;
                tracing::info!("the TLS certificate was read anew");
            }
            Some(Err(cause)) => tracing::error!(%cause, "the new TLS certificate does not work; the old one stays"),
        }
    }
}

/// Opens a regular file. Opening or reading a pipe or a device may block for ever, or never end.
fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        options.custom_flags(flags.cast_signed());
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    open_regular(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
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
    let bytes = |flag, path: &Path| read(path).map_err(|cause| file(flag, path, cause.to_string()));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes(CERTIFICATE, &files.certificates)?)
        .collect::<Result<_, _>>()
        .map_err(|cause| file(CERTIFICATE, &files.certificates, cause.to_string()))?;
    if chain.is_empty() {
        return Err(file(CERTIFICATE, &files.certificates, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&bytes(KEY, &files.key)?)
        .map_err(|cause| file(KEY, &files.key, cause.to_string()))?;
    // Name the provider, so that nothing depends on which crate installed a default first.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
