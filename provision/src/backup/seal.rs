//! Encryption of backups with age, so that whoever keeps the copy cannot read it.
//!
//! Keys are those of `age-keygen`: a recipient (`age1…`) encrypts and may be known to all, an identity
//! (`AGE-SECRET-KEY-1…`) decrypts. Files are read and written in pieces, whatever their size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use age::{DecryptError, Decryptor, Encryptor, x25519};
use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::files;

/// How the names of encrypted files end.
pub(super) const SUFFIX: &str = ".age";
/// How to have a key.
const KEYS: &str = "`age-keygen -o key.txt` makes one and says its recipient, age1…";

/// For whom a backup is encrypted.
#[derive(Default)]
pub struct Recipients(Vec<x25519::Recipient>);

impl std::fmt::Debug for Recipients {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.names()).finish()
    }
}

impl Recipients {
    /// Reads recipients as they are, and those in files: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// When one is none, or a file holds none.
    pub fn read(keys: &[String], lists: &[PathBuf]) -> Result<Self> {
        let mut found = Vec::new();
        for key in keys {
            found.push(recipient(key)?);
        }
        for list in lists {
            let shown = list.display();
            let text = files::read(list)?.with_context(|| format!("there is no file {shown}"))?;
            let before = found.len();
            for (index, line) in lines(&text) {
                found.push(recipient(line).with_context(|| format!("{shown}:{index}"))?);
            }
            ensure!(found.len() > before, "{shown} names no recipient; {KEYS}");
        }
        Ok(Self(found))
    }

    /// Whether nothing is to be encrypted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The recipients as text.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Encrypts a file into a new one.
    pub(super) fn seal(&self, from: &Path, to: &Path) -> Result<()> {
        let recipients = self.0.iter().map(|key| -> &dyn age::Recipient { key });
        let encryptor = Encryptor::with_recipients(recipients).context("begin to encrypt")?;
        let sealed = (|| {
            let mut out = encryptor.wrap_output(BufWriter::new(private_file(to)?))?;
            io::copy(&mut BufReader::new(File::open(from)?), &mut out)?;
            out.finish()?.flush()
        })();
        sealed.with_context(|| format!("encrypt {} into {}", from.display(), to.display()))
    }
}

fn recipient(text: &str) -> Result<x25519::Recipient> {
    ensure!(
        !text.starts_with("AGE-SECRET-KEY"),
        "a secret key was given for a recipient; give its public part, age1…, which stands in the file \
         of the key"
    );
    text.parse().map_err(|why| {
        let shown = crate::told::harmless(text, 80);
        anyhow!(
            "`{shown}` is no recipient of age ({why}); {KEYS}. Plugins and SSH keys are not read"
        )
    })
}

/// Who can read a backup.
#[derive(Default)]
pub struct Identities(Vec<x25519::Identity>);

impl std::fmt::Debug for Identities {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.0.iter().map(|key| key.to_public().to_string())).finish()
    }
}

impl Identities {
    /// Reads files of `age-keygen`. No message repeats what stands in them.
    ///
    /// # Errors
    /// When a file cannot be read, or holds something else.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut found = Vec::new();
        for path in paths {
            let shown = path.display();
            let text = files::read(path)?.with_context(|| format!("there is no file {shown}"))?;
            let before = found.len();
            for (index, line) in lines(&text) {
                let key = line.parse::<x25519::Identity>().map_err(|why| {
                    anyhow!(
                        "{shown}:{index} is no identity of age ({why}); it begins with \
                         AGE-SECRET-KEY-1, and is not itself encrypted"
                    )
                });
                found.push(key?);
            }
            ensure!(found.len() > before, "{shown} holds no identity of age; {KEYS}");
        }
        Ok(Self(found))
    }

    /// Refuses when there is none at all, and says whose the backup is.
    pub(super) fn ensure_any(&self, encrypted_for: &[String]) -> Result<()> {
        ensure!(
            !self.0.is_empty(),
            "the backup is encrypted for {}; give the file of that key: --age-identity FILE",
            encrypted_for.join(", ")
        );
        Ok(())
    }

    /// Decrypts a file into a new one. What is not whole is refused, and nothing of it stays.
    pub(super) fn open(&self, from: &Path, to: &Path, encrypted_for: &[String]) -> Result<()> {
        let opened = self.decrypted(from, to, encrypted_for);
        if opened.is_err() && to.exists() {
            fs::remove_file(to).with_context(|| format!("remove {}", to.display()))?;
        }
        opened
    }

    fn decrypted(&self, from: &Path, to: &Path, encrypted_for: &[String]) -> Result<()> {
        let shown = from.display();
        let file = File::open(from).with_context(|| format!("open {shown}"))?;
        let identities = self.0.iter().map(|key| -> &dyn age::Identity { key });
        let begun = Decryptor::new_buffered(BufReader::with_capacity(1 << 16, file));
        let mut plain = match begun.and_then(|decryptor| decryptor.decrypt(identities)) {
            Ok(plain) => plain,
            Err(DecryptError::NoMatchingKeys) => bail!(
                "{shown} cannot be read with {self:?}: the backup is encrypted for {}",
                encrypted_for.join(", ")
            ),
            Err(error) => bail!("{shown} is damaged, or no file of age: {error}"),
        };
        let mut out = BufWriter::new(private_file(to)?);
        io::copy(&mut plain, &mut out).with_context(|| format!("{shown} is damaged or cut off"))?;
        out.flush().with_context(|| format!("write {}", to.display()))
    }
}

/// A new file that nobody else reads.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The lines that say something, with their numbers from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, str::FromStr as _};

    use age::secrecy::ExposeSecret as _;

    use super::*;

    struct Keys {
        dir: tempfile::TempDir,
        recipient: String,
        identity: PathBuf,
    }

    fn keys() -> Result<Keys> {
        let dir = tempfile::tempdir()?;
        let key = x25519::Identity::generate();
        let identity = dir.path().join("key.txt");
        let text = format!("# a key\n{}\n", key.to_string().expose_secret());
        fs::write(&identity, text)?;
        Ok(Keys { dir, recipient: key.to_public().to_string(), identity })
    }

    /// Three pieces of age and a rest.
    fn long() -> Vec<u8> {
        (0_u32..50_000).flat_map(u32::to_be_bytes).collect()
    }

    /// What was encrypted for several comes back for each of them, and for nobody else.
    #[test]
    fn each_recipient_reads_what_was_encrypted_and_a_stranger_does_not() -> Result<()> {
        let (ours, second, stranger) = (keys()?, keys()?, keys()?);
        let at = |name: &str| ours.dir.path().join(name);
        fs::write(at("list"), format!("# the office\n\n{}\n", second.recipient))?;
        let recipients = Recipients::read(std::slice::from_ref(&ours.recipient), &[at("list")])?;
        fs::write(at("plain"), long())?;
        recipients.seal(&at("plain"), &at("sealed"))?;
        let mut sealed = Vec::new();
        File::open(at("sealed"))?.read_to_end(&mut sealed)?;
        assert!(!sealed.windows(8).any(|window| window == [0, 0, 0, 1, 0, 0, 0, 2]));
        for (name, keys) in [("one", &ours), ("two", &second)] {
            let identities = Identities::read(std::slice::from_ref(&keys.identity))?;
            identities.open(&at("sealed"), &at(name), &recipients.names())?;
            assert_eq!(fs::read(at(name))?, long());
        }
        let identities = Identities::read(&[stranger.identity])?;
        let refused = identities.open(&at("sealed"), &at("three"), &recipients.names());
        let said = refused.expect_err("a stranger reads it").to_string();
        assert!(said.contains(&ours.recipient) && said.contains(&stranger.recipient), "{said}");
        assert!(!at("three").exists());
        let nobody = Identities::default().ensure_any(&recipients.names());
        let said = nobody.expect_err("without a key").to_string();
        assert!(said.contains("--age-identity"), "{said}");
        Ok(())
    }

    /// A copy that is cut off or changed anywhere is noticed, and leaves nothing half decrypted.
    #[test]
    fn what_is_cut_off_or_changed_is_refused() -> Result<()> {
        let ours = keys()?;
        let at = |name: &str| ours.dir.path().join(name);
        let recipients = Recipients::read(std::slice::from_ref(&ours.recipient), &[])?;
        let identities = Identities::read(std::slice::from_ref(&ours.identity))?;
        fs::write(at("plain"), long())?;
        recipients.seal(&at("plain"), &at("sealed"))?;
        let whole = fs::read(at("sealed"))?;
        let piece = whole.len() - long().len() % 65_536 - 16;
        for (what, length) in [("cut", whole.len() - 1), ("piece", piece), ("header", 40)] {
            fs::write(at("sealed"), whole.get(..length).context("shorter")?)?;
            let refused = identities.open(&at("sealed"), &at("out"), &recipients.names());
            assert!(refused.is_err() && !at("out").exists(), "{what}");
        }
        for place in [30, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(at("sealed"), changed)?;
            let refused = identities.open(&at("sealed"), &at("out"), &recipients.names());
            assert!(refused.is_err() && !at("out").exists(), "byte {place}");
        }
        Ok(())
    }

    /// A person who gives the wrong thing is told what it is and what is wanted; a secret is not shown.
    #[test]
    fn what_is_no_key_is_refused_without_showing_a_secret() -> Result<()> {
        let ours = keys()?;
        let secret = fs::read_to_string(&ours.identity)?;
        let secret = secret.lines().last().context("a key")?.to_owned();
        let refused = Recipients::read(std::slice::from_ref(&secret), &[]).expect_err("a secret");
        assert!(!format!("{refused:#}").contains(&secret), "{refused:#}");
        let list = ours.dir.path().join("list");
        fs::write(&list, "# nobody\n")?;
        let refused = Recipients::read(&[], std::slice::from_ref(&list)).expect_err("nobody");
        assert!(refused.to_string().contains("names no recipient"), "{refused:#}");
        let refused = Recipients::read(&["ssh-ed25519 AAAA".to_owned()], &[]).expect_err("ssh");
        assert!(refused.to_string().contains("age-keygen"), "{refused:#}");
        fs::write(&list, format!("{secret}x\n"))?;
        let refused = Identities::read(std::slice::from_ref(&list)).expect_err("wrong");
        assert!(!format!("{refused:#}").contains(&secret), "{refused:#}");
        assert!(refused.to_string().contains("list:1"), "{refused:#}");
        fs::write(&list, [0xff, 0xfe])?;
        let refused = Identities::read(&[list]).expect_err("bytes");
        assert!(refused.to_string().contains("UTF-8"), "{refused:#}");
        assert!(x25519::Recipient::from_str(&ours.recipient).is_ok());
        Ok(())
    }
}
