//! Whom an https URL trusts: the authorities this machine trusts, as curl and browsers do.
//!
//! The cryptography is handed over with each configuration rather than installed for the process: that choice
//! is the embedding program's.

use std::sync::Arc;

use reqwest::Url;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use super::HttpError;

/// What a client for that URL needs. For https the machine's certificates are read, which takes some
/// milliseconds; a client that only calls http must be given a configuration all the same, but trusts nobody,
/// so that a machine without certificates will do.
pub fn configuration(url: &Url) -> Result<ClientConfig, HttpError> {
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

fn trusting_nobody() -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(RootCertStore::empty());
    Ok(builder.with_no_client_auth())
}
