//! Which hosts a ban of a domain covers (HOST-3). Pure.

use std::collections::BTreeMap;

use crate::domain::DomainBan;

/// Longest name of the domain name system.
const DOMAIN_BYTES_MAX: usize = 253;

/// Longest part of a name between two dots.
const LABEL_BYTES_MAX: usize = 63;

/// A domain as it is kept: lower case, without `*.` before and without a dot at the end. A top-level
/// domain alone is one too.
///
/// # Errors
/// What is wrong with it, in words.
pub fn normalised(domain: &str) -> Result<String, String> {
    let text = domain.trim();
    if text.len() > DOMAIN_BYTES_MAX {
        return Err(format!("a domain has more than {DOMAIN_BYTES_MAX} characters"));
    }
    let text = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if text.is_empty() {
        return Err("no domain was given, as `example.com`".to_owned());
    }
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !text.split('.').all(is_label) {
        let what = crate::net::printable(&text, DOMAIN_BYTES_MAX);
        return Err(format!(
            "`{what}` is no domain: it is made of letters, digits, `-` and dots, as `example.com`; \
             names in other scripts are written as `xn--…`"
        ));
    }
    if text.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit())) {
        return Err(format!("`{text}` is no domain: its last part begins with a digit"));
    }
    Ok(text)
}

/// The ban that covers a host, the shortest domain first; a port of the host does not count.
pub(super) fn covering<'a>(
    bans: &'a BTreeMap<String, DomainBan>,
    hostname: &str,
) -> Option<&'a DomainBan> {
    let name = hostname.split(':').next().unwrap_or(hostname);
    let starts = name.rmatch_indices('.').map(|(at, _)| at + 1).chain([0]);
    starts.filter_map(|at| name.get(at..)).find_map(|suffix| bans.get(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Actor;

    fn bans(domains: &[&str]) -> BTreeMap<String, DomainBan> {
        let ban = |domain: &&str| {
            let domain = (*domain).to_owned();
            let ban = DomainBan {
                domain: domain.clone(),
                at_ms: 1,
                actor: Actor::Policy,
                note: String::new(),
            };
            (domain, ban)
        };
        domains.iter().map(ban).collect()
    }

    /// HOST-3: a ban covers the domain and every host below, of a top-level domain too, and no name
    /// that merely ends alike.
    #[test]
    fn a_ban_covers_a_domain_and_all_below() {
        let rows: [(&[&str], &str, Option<&str>); 9] = [
            (&["example.com"], "example.com", Some("example.com")),
            (&["example.com"], "a.b.example.com", Some("example.com")),
            (&["example.com"], "badexample.com", None),
            (&["example.com"], "example.com.org", None),
            (&["com"], "example.com", Some("com")),
            (&["b.example.com", "example.com"], "a.b.example.com", Some("example.com")),
            (&["b.example.com"], "example.com", None),
            (&["localhost"], "localhost:2583", Some("localhost")),
            (&[], "example.com", None),
        ];
        for (domains, host, expected) in rows {
            let bans = bans(domains);
            let found = covering(&bans, host).map(|ban| ban.domain.as_str());
            assert_eq!(found, expected, "{domains:?} {host}");
        }
    }

    /// Defect of the reference: a ban that was typed in another form covered nothing.
    #[test]
    fn domains_are_banned_in_one_form() {
        for (typed, kept) in [
            (" Example.COM. ", "example.com"),
            ("*.example.com", "example.com"),
            (".example.com", "example.com"),
            ("xyz", "xyz"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(normalised(typed).as_deref(), Ok(kept));
        }
        let long = "a".repeat(64);
        let bad = [
            "",
            ".",
            "a..b",
            "-a.com",
            "a b.com",
            "https://a.com",
            "a.com:80",
            "b\u{fc}cher.de",
            "1.2.3.4",
            "*",
            &long,
        ];
        for typed in bad {
            let why = normalised(typed).unwrap_err();
            assert!(why.contains("domain"), "{typed}: {why}");
        }
    }
}
