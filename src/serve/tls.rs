//! TLS by rustls, from a certificate chain and a key in PEM files.
//!
//! Certificates are renewed every few weeks, by programs that put new files in the place of the old ones. So each
//! connection looks whether the files are still those that were read; no signal is needed, and no restart.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use crate::error::{Error, Result};

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate and those between it and the root, in this order.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What tells one state of a file from the next: its number, its length, and when it was written.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Takes TLS connections with the files as they are.
pub(super) struct Tls {
    files: TlsFiles,
    protocols: &'static [&'static str],
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    /// The files that were tried last, also when they were of no use.
    tried: [Stamp; 2],
}

impl Tls {
    /// Reads the files. Clients are offered one of these protocols.
    pub(super) fn read(files: &TlsFiles, protocols: &'static [&'static str]) -> Result<Tls> {
        // Before they are read: what is written meanwhile is seen as a change.
        let tried = stamps(files);
        let acceptor = acceptor(files, protocols)?;
        Ok(Tls {
            files: files.clone(),
            protocols,
            current: Mutex::new(Current { acceptor, tried }),
        })
    }

    /// For the next connection. While the files are of no use, as when one of them is new and the other is not yet, it is
    /// what it was; `tell` hears of each change.
    pub(super) fn acceptor(&self, tell: impl FnOnce(Result<()>)) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.files);
        if now != current.tried {
            current.tried = now;
            tell(acceptor(&self.files, self.protocols).map(|new| current.acceptor = new));
        }
        current.acceptor.clone()
    }
}

fn stamps(files: &TlsFiles) -> [Stamp; 2] {
    [&files.certificate, &files.key].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    })
}

fn acceptor(files: &TlsFiles, protocols: &[&str]) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unusable(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(unusable(&files.certificate, &"it holds no certificate"));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable(&files.certificate, &error))?;
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Usage {
        message: format!("`{}` cannot be used for TLS: {why}", path.display()),
        hint: Some("it takes a certificate chain and its private key, both in PEM".into()),
    }
}
