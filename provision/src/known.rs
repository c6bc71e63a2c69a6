//! Relays that many people know.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::{feed::Address, files};

/// Public relays of the whole network. None is asked for anything unless a person names it, or all of
/// them together.
pub const RELAYS: [&str; 7] = [
    "bsky.network",
    "relay1.us-east.bsky.network",
    "relay1.us-west.bsky.network",
    "northamerica.firehose.network",
    "europe.firehose.network",
    "asia.firehose.network",
    "atproto.africa",
];

/// The relays of [`RELAYS`].
///
/// # Errors
/// Never, unless the list itself is wrong.
pub fn all() -> Result<Vec<Address>> {
    RELAYS.iter().map(|name| Address::parse(name)).collect()
}

/// The lines of a file: one word each, `#` begins a comment.
///
/// # Errors
/// When the file cannot be read or holds no line.
pub fn lines(path: &Path) -> Result<Vec<String>> {
    let shown = path.display();
    let text = files::read(path)?.with_context(|| format!("there is no file {shown}"))?;
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    ensure!(!lines.is_empty(), "{shown} holds no line; write one name per line");
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A list of one's own may have comments, and an empty one is no list.
    #[test]
    fn names_are_read_from_a_list() -> Result<()> {
        assert_eq!(all()?.len(), RELAYS.len());
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("relays");
        fs::write(&path, "# ours\nrelay.example.com # the new one\n\nbsky.network\n")?;
        assert_eq!(lines(&path)?, ["relay.example.com", "bsky.network"]);
        fs::write(&path, "# nothing\n")?;
        assert!(lines(&path).is_err());
        Ok(())
    }
}
