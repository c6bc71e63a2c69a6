//! Files of the whole repository.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Directories that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", "node_modules", "data"];

/// The repository's root.
pub(crate) fn repo() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// One file, its path seen from the root, with `/`.
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Reads one file.
pub(crate) fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(repo().join(path))
        .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

/// All files below the root with one of these extensions, in the order of their paths.
pub(crate) fn texts(extensions: &[&str]) -> io::Result<Vec<Text>> {
    let root = repo();
    let mut left = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            let is_root = path == root;
            if !is_root && (name.starts_with('.') || SKIPPED.contains(&&*name)) {
                continue;
            }
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else if extensions
            .iter()
            .any(|extension| path.extension().is_some_and(|e| e == *extension))
        {
            let path = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().into_owned();
            found.push(Text { text: read(&path)?, path });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What stands between backticks.
pub(crate) fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
