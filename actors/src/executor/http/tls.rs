//! Whom an https URL trusts: the authorities this machine trusts, as curl and browsers do.
//!
//! The cryptography is handed over with each configuration rather than installed for the process: that choice
//! is the embedding program's.

use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, Error, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt;

/// For https. Reads the machine's certificates, which takes some milliseconds.
pub fn as_the_machine_trusts() -> Result<ClientConfig, Error> {
    Ok(without_client_certificate(with_cryptography()?.with_platform_verifier()?))
}

/// For a client that only calls http, but must be given a configuration all the same: there, a machine without
/// certificates is fine.
pub fn trusting_nobody() -> Result<ClientConfig, Error> {
    Ok(without_client_certificate(with_cryptography()?.with_root_certificates(RootCertStore::empty())))
}

fn with_cryptography() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn without_client_certificate(builder: ConfigBuilder<ClientConfig, WantsClientCert>) -> ClientConfig {
    builder.with_no_client_auth()
}
