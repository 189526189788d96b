//! Looking at a server's certificate, without using the connection for anything else.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::rustls::client::WebPkiServerVerifier;
use async_nats::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use async_nats::rustls::crypto::ring;
use async_nats::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use async_nats::rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, Stream};

use crate::tls::{Tls, greeted};

/// Further ahead than this nobody looks.
const HORIZON_DAYS: u64 = 30;
const DAY: u64 = 24 * 3600;

/// Greets a NATS server over TLS and gives for how many days more its certificate is good, thirty at most. Blocks, for
/// about `timeout` at most for each exchange.
///
/// # Errors
/// Why it is not trusted, or cannot be looked at, in one line.
pub fn days_left(host: &str, port: u16, ca_file: Option<&Path>, timeout: Duration) -> Result<u64, String> {
    let provider = Arc::new(ring::default_provider());
    let tls = Tls { ca_file: ca_file.map(Path::to_owned), ..Tls::default() };
    let roots = Arc::new(tls.roots()?);
    let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    let witness = Arc::new(Witness { inner, days: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        // It asks the usual verifier; it only asks it about tomorrow too.
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| format!("{host} is no name a certificate could have"))?;
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let (mut tcp, _) = greeted(host, port, timeout).map_err(|error| error.to_string())?;
    // The first byte drives the handshake; what the server says after it is of no interest.
    let shaken = Stream::new(&mut tls, &mut tcp).write_all(b"PING\r\n");
    let days = *witness.days.lock().unwrap_or_else(PoisonError::into_inner);
    match (days, shaken) {
        (Some(days), _) => Ok(days),
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(())) => Err("the server showed no certificate".to_owned()),
    }
}

/// Remembers for how long what it verified stays good.
#[derive(Debug)]
struct Witness {
    inner: Arc<WebPkiServerVerifier>,
    days: Mutex<Option<u64>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let on = |days: u64| {
            let then = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + days * DAY));
            self.inner.verify_server_cert(end_entity, intermediates, name, ocsp, then)
        };
        let verified = on(0)?;
        let days = (1..=HORIZON_DAYS).take_while(|days| on(*days).is_ok()).last().unwrap_or(0);
        *self.days.lock().unwrap_or_else(PoisonError::into_inner) = Some(days);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
