//! TLS settings: the roots of the machine, one crypto provider for the whole process.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_platform_verifier::Verifier;

use super::NetError;

/// Settings for all TLS connections.
///
/// A machine without root certificates is an error; development mode goes on without them, because
/// it may talk to plain hosts only.
pub(super) fn client_config(allow_insecure: bool) -> Result<ClientConfig, NetError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| NetError::Failed(format!("TLS cannot be set up: {error}")))?;
    match Verifier::new(provider) {
        Ok(verifier) => Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()),
        Err(error) if allow_insecure => {
            tracing::warn!(%error, "no root certificates: hosts with TLS cannot be reached");
            Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
        }
        Err(error) => Err(NetError::Failed(format!(
            "no root certificates can be read ({error}); install the package ca-certificates"
        ))),
    }
}

/// Installs the one crypto provider of the process, if that has not happened yet.
pub fn install_crypto() {
    provider();
}

/// The crypto provider of the process, installed at first use.
fn provider() -> Arc<CryptoProvider> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Arc::clone(provider);
    }
    let ours = rustls::crypto::aws_lc_rs::default_provider();
    match ours.clone().install_default() {
        Ok(()) => Arc::new(ours),
        // Another thread was faster.
        Err(theirs) => theirs,
    }
}
