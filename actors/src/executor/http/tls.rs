//! Whom an https URL trusts: the authorities this machine trusts, as curl and browsers do.
//!
//! The cryptography is handed over with each configuration rather than installed for the process: that choice
//! is the embedding program's.

use std::path::Path;
use std::sync::Arc;

use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::{BuilderVerifierExt, Verifier};

use super::HttpError;

/// What a client for that URL needs. For https the machine's certificates are read, which takes some
/// milliseconds; a client that only calls http must be given a configuration all the same, but trusts nobody,
/// so that a machine without certificates will do.
pub fn configuration(url: &Url, ca_file: Option<&Path>) -> Result<ClientConfig, HttpError> {
    if let Some(path) = ca_file {
        let unusable = |reason: String| HttpError::BadCertificates { path: path.to_owned(), reason };
        return trusting_also(&certificates(path).map_err(unusable)?).map_err(|error| unusable(error.to_string()));
    }
    let trust = match url.scheme() {
        "https" => as_the_machine_trusts(),
        _ => trusting_nobody(),
    };
    trust.map_err(|error| HttpError::Tls(error.to_string()))
}

fn as_the_machine_trusts() -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_platform_verifier()?;
    Ok(builder.with_no_client_auth())
}

/// Trusts the authorities of a file beside those of the machine; a machine without any will do.
fn trusting_also(certificates: &[CertificateDer<'static>]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let verifier = Verifier::new_with_extra_roots(certificates.iter().cloned(), provider)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if certificates.is_empty() { Err("there is no certificate in PEM".to_owned()) } else { Ok(certificates) }
}

fn trusting_nobody() -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(RootCertStore::empty());
    Ok(builder.with_no_client_auth())
}
