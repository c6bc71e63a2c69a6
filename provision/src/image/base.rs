//! What a program needs besides itself: its shared libraries, names of users, certificates.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::Tree;
use crate::run;

/// Where Debian keeps the certificates that its users trust.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Adds a program and all that it loads, each library where it lies on this machine.
///
/// # Errors
/// When the program or a library of it is missing.
pub fn closure(tree: &mut Tree, at: &str, program: &Path) -> Result<()> {
    tree.file(at, 0o755, program)?;
    for library in shared_libraries(program)? {
        tree.file(&library.to_string_lossy(), 0o755, &library)?;
    }
    Ok(())
}

/// The shared libraries of a program, and the loader; empty for a static one.
///
/// # Errors
/// When one is missing.
pub fn shared_libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let shown = program.to_string_lossy();
    let (_, said) = run::captured(run::program(Path::new("/"), &["ldd", &shown]))?;
    libraries(&said).with_context(|| format!("find the libraries of {shown}"))
}

/// Reads what `ldd` says.
fn libraries(said: &str) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for line in said.lines().map(str::trim) {
        let path = match line.split_once(" => ") {
            Some((name, "not found")) => bail!("{name} is not installed on this machine"),
            Some((_, rest)) => rest,
            None => line,
        };
        if let Some(path) = path.split(" (0x").next().filter(|path| path.starts_with('/')) {
            found.insert(PathBuf::from(path));
        }
    }
    Ok(found)
}

/// Adds what nearly every program reads: users, how names are looked up, trusted certificates.
///
/// # Errors
/// When this machine has no certificates.
pub(super) fn essentials(tree: &mut Tree, user: &str, id: u64) -> Result<()> {
    tree.text(
        "/etc/passwd",
        0o644,
        format!("root:x:0:0:root:/:/sbin/nologin\n{user}:x:{id}:{id}:{user}:/:/sbin/nologin\n"),
    );
    tree.text("/etc/group", 0o644, format!("root:x:0:\n{user}:x:{id}:\n"));
    tree.text("/etc/nsswitch.conf", 0o644, "hosts: files dns\n");
    tree.directory("/tmp", 0o1777, 0);
    tree.file(CERTIFICATES, 0o644, Path::new(CERTIFICATES))
        .context("there are no certificates on this machine; install the package ca-certificates")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every form of a line of `ldd`: the kernel's own object is no file.
    #[test]
    fn libraries_and_the_loader_are_found() -> Result<()> {
        let said = "\tlinux-vdso.so.1 (0x00007ffe)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries(said)?, BTreeSet::from(expected));
        assert!(libraries("\tstatically linked\n")?.is_empty());
        Ok(())
    }

    /// A missing library is told by name now, not by a container that does not start.
    #[test]
    fn a_missing_library_is_named() {
        let error = libraries("\tlibx.so.1 => not found\n").unwrap_err().to_string();
        assert_eq!(error, "libx.so.1 is not installed on this machine");
    }
}
