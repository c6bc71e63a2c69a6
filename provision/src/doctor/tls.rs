//! The certificate of the public name: its chain, its name, and until when it is valid.

use rustls::pki_types::{CertificateDer, ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Line, Patient, STEP_MAX};
use crate::moment;

const CHECK: &str = "tls";
const CADDY: &str =
    "see `journalctl -u caddy`; port 80 must be open for the authority to see the name";

pub(super) async fn check(patient: &Patient) -> Line {
    look(patient).await.0
}

/// The line, and until when the certificate is valid, ms since 1970.
pub(super) async fn look(patient: &Patient) -> (Line, Option<u64>) {
    let (host, port) = patient.public();
    if !patient.address.http("/").starts_with("https") {
        let line = Line::fail(
            CHECK,
            format!("{} is asked without TLS", patient.address.name()),
            "hosts and consumers use wss and https alone",
            "give the name without ws:// or http://",
        );
        return (line, None);
    }
    let shaken = timeout(STEP_MAX, chain(&host, port)).await;
    match shaken {
        Ok(Ok(chain)) => (judge(&host, &chain, patient.now_ms), end(&chain)),
        Ok(Err(why)) => (refused(&host, port, &why), None),
        Err(_late) => (refused(&host, port, "no answer within 10 s"), None),
    }
}

fn end(chain: &[CertificateDer<'_>]) -> Option<u64> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(ms(leaf.validity().not_after.timestamp()))
}

/// Seconds since 1970 as milliseconds.
fn ms(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000)
}

async fn chain(host: &str, port: u16) -> Result<Vec<CertificateDer<'static>>, String> {
    let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let config = crate::feed::tls().map_err(|error| format!("{error:#}"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let secure = TlsConnector::from(config).connect(name, stream).await;
    let secure = secure.map_err(|error| error.to_string())?;
    let (_, session) = secure.get_ref();
    Ok(session
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|c| c.clone().into_owned())
        .collect())
}

fn refused(host: &str, port: u16, why: &str) -> Line {
    let has = |word: &str| why.to_ascii_lowercase().contains(word);
    let fix = if has("unknownissuer") || has("badsignature") {
        "have a certificate of a public authority (RELAY_TLS_ISSUER=acme), with its whole chain"
    } else if has("notvalidforname") || has("not valid for name") {
        "set RELAY_SITE to this name, and reload Caddy"
    } else if has("expired") || has("not valid yet") || has("notvalidyet") {
        "look at the clock of this machine, and at the renewal: `journalctl -u caddy`"
    } else {
        CADDY
    };
    Line::fail(
        CHECK,
        format!("no TLS with {host}, port {port}"),
        crate::told::harmless(why, 300),
        fix,
    )
}

fn judge(host: &str, chain: &[CertificateDer<'_>], now_ms: u64) -> Line {
    let Some(leaf) = chain.first() else {
        return Line::fail(
            CHECK,
            format!("{host} shows no certificate"),
            "its answer is empty",
            CADDY,
        );
    };
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else {
        let what = format!("the certificate of {host} cannot be read");
        return Line::fail(CHECK, what, "it is no X.509", CADDY);
    };
    let validity = leaf.validity();
    let (begin, end) = (ms(validity.not_before.timestamp()), ms(validity.not_after.timestamp()));
    let (lifetime, left) = (end.saturating_sub(begin), end.saturating_sub(now_ms));
    let issuer = leaf.issuer().to_string();
    let what = format!(
        "the certificate of {host} is valid until {} ({} days), of {}, {} in its chain",
        moment::day(end),
        left / 86_400_000,
        crate::told::harmless(&issuer, 100),
        chain.len()
    );
    // Caddy renews when a third is left, whether that are days or months.
    let cause = "it should have been renewed when a third of its time was left";
    if left < lifetime / 10 {
        Line::fail(CHECK, what, cause, CADDY)
    } else if left < lifetime / 4 {
        Line::warn(CHECK, what, cause, CADDY)
    } else {
        Line::ok(CHECK, what)
    }
}
