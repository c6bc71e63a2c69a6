//! Reads a whole repository as it arrives, for the names of its collections alone.

use relay_protocol::{DataCid, RepoReader, Rev};

use super::{Has, Said, refused};
use crate::{
    domain::{Account, RepoState},
    net::{Download, Downloaded, Net, NetError},
};

/// Whose repository is read.
#[derive(Debug)]
pub(super) struct Export<'a> {
    pub(super) net: &'a Net,
    pub(super) account: &'a Account,
}

impl Export<'_> {
    /// The error says that the host has no such method.
    ///
    /// Cancel safety: the download is given up.
    pub(super) async fn read(&self, url: &str) -> Result<Said, String> {
        match self.net.download(url).await {
            Ok(Downloaded::Body(download)) => Ok(self.take(download).await),
            Ok(Downloaded::Refused(answer)) => refused("getRepo", &answer),
            Err(error) => Ok(unreachable(&error)),
        }
    }

    async fn take(&self, mut download: Download) -> Said {
        let nothing = |why: &str| Said::Nothing(format!("getRepo: {why}"));
        let mut reader = RepoReader::new(&self.account.did);
        let mut head = None;
        loop {
            let piece = match download.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => return unreachable(&error),
            };
            let is_whole = match reader.push(&piece) {
                Ok(is_whole) => is_whole,
                Err(invalid) => return nothing(invalid.what),
            };
            if head.is_none() && reader.head().is_some() {
                head = reader.head();
                // Not after the whole download.
                if let Some(why) = head.and_then(|head| stale(head, self.account.repo.as_ref())) {
                    return nothing(why);
                }
            }
            if is_whole {
                break;
            }
        }
        match reader.finish() {
            Ok(collections) => Said::Has(Has { collections, head }),
            Err(invalid) => nothing(invalid.what),
        }
    }
}

fn unreachable(error: &NetError) -> Said {
    Said::Unreachable(format!("getRepo: {error}"))
}

/// Why a commit is none that this relay can follow, if so: it has seen a later one.
fn stale((rev, data): (Rev, DataCid), known: Option<&RepoState>) -> Option<&'static str> {
    let known = known?;
    // The same tree has the same records, whatever its revision; a move may announce a later one than it
    // signs (SYNC-8).
    if data == known.data || rev > known.rev {
        return None;
    }
    Some(if rev == known.rev {
        "its commit has the revision that this relay knows, but another tree"
    } else {
        "it is an old copy: this relay has seen a later commit"
    })
}

#[cfg(test)]
mod tests {
    use relay_protocol::CommitCid;

    use super::*;

    /// A copy that is behind what the stream has shown would bring back what is gone.
    #[test]
    fn an_old_copy_says_nothing() {
        let rev = |text: &str| Rev::parse(text).unwrap();
        let data = |byte: u8| DataCid([byte; 32]);
        let (old, now, new) = (rev("3jzfcijpj2z22"), rev("3jzfcijpj2z2a"), rev("3jzfcijpj2z2b"));
        let known = RepoState { rev: now, data: data(1), commit: CommitCid([9; 32]) };
        for (head, is_stale) in [
            ((old, data(2)), true),
            ((now, data(2)), true),
            ((now, data(1)), false),
            ((old, data(1)), false),
            ((new, data(2)), false),
        ] {
            assert_eq!(stale(head, Some(&known)).is_some(), is_stale, "{head:?}");
        }
        assert_eq!(stale((old, data(2)), None), None, "nothing is known of it");
    }
}
