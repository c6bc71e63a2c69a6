//! Where a firehose is, as people write it.

use anyhow::{Context as _, Result, bail};
use url::Url;

const PATH: &str = "/xrpc/com.atproto.sync.subscribeRepos";

/// The address of a relay or host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    is_secure: bool,
    /// Host, and the port if it is not the usual one.
    authority: String,
}

impl Address {
    /// Reads `bsky.network`, `wss://bsky.network`, `https://bsky.network/`, `localhost:2470`,
    /// `ws://192.0.2.1:2470` or the whole address of a stream. Without a scheme it is `wss`, on this
    /// machine `ws`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        let forms = "write a host as `bsky.network`, or a URL as `ws://localhost:2470`";
        let text = text.trim();
        let whole = if text.contains("://") {
            text.to_owned()
        } else {
            let is_local = ["localhost", "127.", "[::1]"].iter().any(|own| text.starts_with(own));
            format!("{}://{text}", if is_local { "ws" } else { "wss" })
        };
        let url = Url::parse(&whole).with_context(|| format!("`{text}` is no address; {forms}"))?;
        let is_secure = match url.scheme() {
            "wss" | "https" => true,
            "ws" | "http" => false,
            other => bail!("`{text}` has the scheme `{other}`; {forms}"),
        };
        if !matches!(url.path(), "" | "/" | PATH) || url.query().is_some() {
            bail!("`{text}` has a path or a query; {forms}");
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.with_context(|| format!("`{text}` has no host; {forms}"))?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self { is_secure, authority })
    }

    /// Host, and the port if it is not the usual one: how people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.authority
    }

    /// The URL of its stream.
    #[must_use]
    pub fn stream(&self, cursor: Option<u64>) -> String {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        format!("{scheme}://{}{PATH}{query}", self.authority)
    }

    /// The URL of a path, for HTTP.
    #[must_use]
    pub fn http(&self, path: &str) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a person types in a hurry leads where it should.
    #[test]
    fn addresses_are_read_as_people_write_them() -> Result<()> {
        for (text, stream) in [
            ("bsky.network", "wss://bsky.network"),
            ("https://bsky.network/", "wss://bsky.network"),
            ("wss://bsky.network:443", "wss://bsky.network"),
            ("relay.example.com:8443", "wss://relay.example.com:8443"),
            ("localhost:2470", "ws://localhost:2470"),
            ("127.0.0.1:2470", "ws://127.0.0.1:2470"),
            ("[::1]:2470", "ws://[::1]:2470"),
            ("http://192.0.2.1:2470", "ws://192.0.2.1:2470"),
            ("wss://a.example/xrpc/com.atproto.sync.subscribeRepos", "wss://a.example"),
        ] {
            let address = Address::parse(text).with_context(|| text.to_owned())?;
            assert_eq!(address.stream(None), format!("{stream}{PATH}"), "{text}");
        }
        let address = Address::parse("localhost:2470")?;
        assert_eq!(address.stream(Some(7)), format!("ws://localhost:2470{PATH}?cursor=7"));
        assert_eq!(address.http("/x"), "http://localhost:2470/x");
        assert_eq!(address.name(), "localhost:2470");
        Ok(())
    }

    #[test]
    fn what_is_no_address_is_told_with_what_to_write() {
        for text in ["", "wss://", "ftp://bsky.network", "bsky.network/path", "a b", "x?cursor=1"] {
            let told = Address::parse(text).map(|address| address.stream(None));
            let told = told.expect_err(text).to_string();
            assert!(told.contains("ws://localhost:2470"), "{text}: {told}");
        }
    }
}
