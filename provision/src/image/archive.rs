//! The archive of an image: one layer, its settings, and the list of both.

use std::{
    fs::File,
    io::{self, Seek as _, Write},
};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{EPOCH, Image, hex};

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// `atproto-relay/PART:HASH`.
    pub name: String,
    /// `sha256:…`: the digest of the settings, which hold that of the layer.
    pub id: String,
    /// Bytes of the uncompressed layer, which is what an engine calls the image's size.
    pub bytes: u64,
}

/// Writes the archive of an image, in the form that `docker save` writes.
///
/// # Errors
/// When a file cannot be read, the temporary directory is full, or `out` takes no more.
pub fn write(image: &Image, out: impl Write) -> Result<Built> {
    let layer = tempfile::tempfile().context("make a temporary file")?;
    let mut hashed = Hashed { hash: Sha256::new(), out: io::BufWriter::new(layer) };
    image.tree.write(&mut hashed)?;
    let Hashed { hash, out: buffer } = hashed;
    let mut layer = buffer.into_inner().context("write the layer")?;
    let bytes = layer.stream_position().context("measure the layer")?;
    layer.rewind().context("read the layer again")?;
    let digest = hex(&hash.finalize());
    let config = image.config(&[format!("sha256:{digest}")]).to_string();
    let id = hex(&Sha256::digest(&config));
    let name = image.name();
    archive(out, &Parts { name: &name, id: &id, config: &config, digest: &digest }, bytes, layer)?;
    Ok(Built { name, id: format!("sha256:{id}"), bytes })
}

struct Parts<'a> {
    name: &'a str,
    id: &'a str,
    config: &'a str,
    digest: &'a str,
}

fn archive(out: impl Write, parts: &Parts<'_>, bytes: u64, layer: File) -> Result<()> {
    let (settings, file) = (format!("{}.json", parts.id), format!("{}/layer.tar", parts.digest));
    let list = json!([{ "Config": settings, "RepoTags": [parts.name], "Layers": [file] }]);
    let mut tar = tar::Builder::new(out);
    let list = list.to_string();
    append(&mut tar, "manifest.json", list.len().try_into()?, list.as_bytes())?;
    append(&mut tar, &settings, parts.config.len().try_into()?, parts.config.as_bytes())?;
    append(&mut tar, &file, bytes, layer)?;
    tar.into_inner()?.flush().context("write the archive")
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &str,
    bytes: u64,
    data: impl io::Read,
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(EPOCH);
    header.set_size(bytes);
    tar.append_data(&mut header, path, data).with_context(|| format!("write {path}"))
}

/// Hashes what passes.
struct Hashed<W> {
    hash: Sha256,
    out: W,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Settings, Tree};

    fn image(contents: &str, port: u16) -> Image {
        let mut tree = Tree::default();
        tree.text("/a/b", 0o644, contents);
        tree.link("/z", "a/b");
        tree.directory("/data", 0o700, 10_001);
        Image {
            part: "test",
            tree,
            settings: Settings { ports: vec![port], ..Settings::default() },
        }
    }

    /// Two people who build the same version get the same image, byte for byte.
    #[test]
    fn the_same_files_give_the_same_bytes() -> Result<()> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let built = write(&image("x", 1), &mut first)?;
        assert_eq!(built, write(&image("x", 1), &mut second)?);
        assert_eq!(first, second);
        Ok(())
    }

    /// A changed file or setting is another image, under another name.
    #[test]
    fn what_differs_has_another_name() -> Result<()> {
        let built = write(&image("x", 1), io::sink())?;
        for other in [image("y", 1), image("x", 2)] {
            let other = write(&other, io::sink())?;
            assert_ne!(built.name, other.name);
            assert_ne!(built.id, other.id);
        }
        Ok(())
    }

    /// Directories above a file are in the layer, before it.
    #[test]
    fn a_layer_holds_what_was_added_in_order() -> Result<()> {
        let mut layer = Vec::new();
        image("x", 1).tree.write(&mut layer)?;
        let mut archive = tar::Archive::new(layer.as_slice());
        let mut found = Vec::new();
        for entry in archive.entries()? {
            let entry = entry?;
            let header = entry.header();
            found.push((
                entry.path()?.display().to_string(),
                header.uid()?,
                header.mode()?,
                header.mtime()?,
            ));
        }
        let expected =
            [("a/", 0, 0o755), ("a/b", 0, 0o644), ("data/", 10_001, 0o700), ("z", 0, 0o777)];
        let expected: Vec<_> = expected
            .iter()
            .map(|(path, uid, mode)| ((*path).to_owned(), *uid, *mode, EPOCH))
            .collect();
        assert_eq!(found, expected);
        Ok(())
    }
}
