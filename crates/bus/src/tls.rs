//! TLS: which certificates count, and why a server cannot be talked to, in words that say what to do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_nats::rustls::crypto::ring;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use async_nats::rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use serde_json::Value;

use crate::error::BusError;

/// A greeting is a few kilobytes.
const LONGEST_GREETING: usize = 64 * 1024;

/// The files of the flags. Read again at every connect, so that certificates can be renewed without a restart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) key_file: Option<PathBuf>,
}

impl Tls {
    /// Whether a connection without TLS is out of the question.
    pub(crate) fn is_obligatory(&self) -> bool {
        self.ca_file.is_some() || self.cert_file.is_some()
    }

    /// The certificate that is shown, with its key.
    pub(crate) fn identity(&self) -> Option<(&Path, &Path)> {
        self.cert_file.as_deref().zip(self.key_file.as_deref())
    }

    /// Fails early, by the name of the flag, when a file is missing or not what it should be.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("--nats-cert-file and --nats-key-file belong together: give both or neither".to_owned());
        }
        if self.is_obligatory() { self.client_config().map(drop) } else { Ok(()) }
    }

    /// The authorities that count: those of the file, else those of the system.
    pub(crate) fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.ca_file else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return Ok(roots);
        };
        for certificate in certificates("--nats-ca-file", path)? {
            roots.add(certificate).map_err(|error| format!("--nats-ca-file {}: {error}", path.display()))?;
        }
        Ok(roots)
    }

    fn client_config(&self) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots()?);
        let Some((cert, key)) = self.identity() else { return Ok(builder.with_no_client_auth()) };
        let certificates = certificates("--nats-cert-file", cert)?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            format!("--nats-key-file {}: {error}; give a PEM file with a private key", key.display())
        })?;
        builder.with_client_auth_cert(certificates, secret).map_err(|error| {
            let (cert, key) = (cert.display(), key.display());
            format!("--nats-key-file {key} is not the key of --nats-cert-file {cert}: {error}")
        })
    }

    /// What to do about a failure, as far as its text tells that it is one of TLS.
    pub(crate) fn hint(&self, reason: &str) -> Option<String> {
        let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
        let asked = match self.identity() {
            Some((cert, _)) => {
                format!("the server does not take {}: give a certificate it knows the authority of", cert.display())
            }
            None => "the server wants to see a certificate: --nats-cert-file and --nats-key-file name one".to_owned(),
        };
        Some(match &self.ca_file {
            Some(path) if has(&["UnknownIssuer"]) => format!(
                "its certificate was not signed by the authority in {}: --nats-ca-file must name the one that signed it",
                path.display()
            ),
            None if has(&["UnknownIssuer"]) => {
                "nobody this machine trusts signed its certificate: name its authority with --nats-ca-file".to_owned()
            }
            _ if has(&["not valid for name", "NotValidForName"]) => {
                "--nats-url must use a name that is in the certificate, or the certificate one that is in --nats-url"
                    .to_owned()
            }
            _ if has(&["expired", "not valid yet", "Expired", "NotValidYet"]) => {
                "have the certificate renewed, or put this machine's clock right".to_owned()
            }
            _ if has(&["CertificateRequired", "BadCertificate", "UnknownCA", "HandshakeFailure"]) => asked,
            _ if has(&["invalid peer certificate", "InvalidContentType", "tls connections not supported"]) => {
                "look at the server's certificate and log".to_owned()
            }
            _ => return None,
        })
    }

    /// The failure as an error, when it is one of TLS.
    pub(crate) fn error(&self, url: &str, reason: &str) -> Option<BusError> {
        let hint = self.hint(reason)?;
        Some(BusError::Tls { url: url.to_owned(), reason: reason.to_owned(), hint })
    }

    /// Looks once more and closely at a server that could not be connected to; the library says only which kind of
    /// failure it was. `None` when nothing is wrong with it, as far as can be seen without logging in. Blocks, for about
    /// `timeout` at most for each exchange.
    pub(crate) fn diagnose(&self, host: &str, port: u16, timeout: Duration) -> Option<String> {
        self.try_greet(host, port, timeout).err()
    }

    fn try_greet(&self, host: &str, port: u16, timeout: Duration) -> Result<(), String> {
        let (mut tcp, info) = greeted(host, port, timeout).map_err(|error| error.to_string())?;
        if !self.is_obligatory() && info["tls_required"] != true {
            return Ok(());
        }
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name a certificate could have"))?;
        let mut tls =
            ClientConnection::new(Arc::new(self.client_config()?), name).map_err(|error| error.to_string())?;
        let mut stream = Stream::new(&mut tls, &mut tcp);
        stream.write_all(b"PING\r\n").map_err(|error| error.to_string())?;
        // Whether our certificate is taken is said only after the handshake. Silence is a yes.
        match stream.read(&mut [0; 64]) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(error.to_string()),
            _ => Ok(()),
        }
    }
}

/// The certificates of a file, at least one.
fn certificates(flag: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let cannot = |why: String| format!("{flag} {}: {why}; give a PEM file with a certificate", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(|error| cannot(error.to_string()))?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| cannot(error.to_string()))?;
    if found.is_empty() { Err(cannot("it holds no certificate".to_owned())) } else { Ok(found) }
}

/// Connects and takes the greeting, up to its last byte and not one more: TLS begins right behind it.
pub(crate) fn greeted(host: &str, port: u16, timeout: Duration) -> std::io::Result<(TcpStream, Value)> {
    let unknown = || std::io::Error::other(format!("{host} does not resolve"));
    let address = (host, port).to_socket_addrs()?.next().ok_or_else(unknown)?;
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let mut line = Vec::new();
    let mut bytes = BufReader::with_capacity(1, &stream).take(LONGEST_GREETING as u64);
    bytes.read_until(b'\n', &mut line)?;
    let greeting = line.strip_prefix(b"INFO ").ok_or_else(|| std::io::Error::other("no NATS server answers there"))?;
    Ok((stream, serde_json::from_slice(greeting)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_certificate_is_named_with_its_flag() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing\n").unwrap();
        let ca = Tls { ca_file: Some(empty.clone()), ..Tls::default() };
        assert!(ca.check().unwrap_err().starts_with(&format!("--nats-ca-file {}: it holds no cert", empty.display())));
        let cert = Tls { cert_file: Some(empty.clone()), key_file: Some(empty.clone()), ..Tls::default() };
        assert!(cert.check().unwrap_err().starts_with("--nats-cert-file "));
        let alone = Tls { cert_file: Some(empty), ..Tls::default() };
        assert!(alone.check().unwrap_err().contains("belong together"));
    }

    #[test]
    fn what_to_do_is_said_for_failures_of_tls_and_for_no_others() {
        let none = Tls::default();
        let own = Tls { ca_file: Some("/ca.pem".into()), ..Tls::default() };
        let unknown = "TLS error: invalid peer certificate: UnknownIssuer";
        assert!(none.hint(unknown).unwrap().contains("name its authority with --nats-ca-file"));
        assert!(own.hint(unknown).unwrap().contains("not signed by the authority in /ca.pem"));
        assert!(none.hint("received fatal alert: CertificateRequired").unwrap().contains("--nats-cert-file"));
        assert_eq!(none.hint("Connection refused (os error 111)"), None);
    }
}
