//! What a person sees while something takes long.

use std::{
    fs::File,
    io::Read as _,
    process::{Command, Stdio},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::program::provision;

/// On a terminal something moves while a disk is measured; in the log of a timer it is one plain line.
#[test]
fn long_work_moves_on_a_terminal_and_is_a_line_in_a_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, env) = (dir.path().display().to_string(), dir.path().join("env"));
    let env = env.display().to_string();
    let words = ["tune", "--print-facts", "--path", &path, "--env", &env];
    let log = provision(&words);
    assert!(log.code == Some(0) && log.err.lines().count() == 1, "{log:?}");
    assert!(log.err.starts_with("measuring the disk") && !log.err.contains('\u{1b}'), "{log:?}");

    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).expect("grant it");
    unlockpt(&terminal).expect("unlock it");
    let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).expect("give it a size");
    let name = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("a path");
    let screen = File::options().read(true).write(true).open(name).expect("open it");
    let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
    command.args(words).env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(screen).spawn().expect("start provision");
    // The terminal ends when nobody holds it any more.
    drop(command);
    let (mut seen, mut piece) = (Vec::new(), [0; 4_096]);
    let mut terminal = File::from(terminal);
    while let Ok(read) = terminal.read(&mut piece) {
        if read == 0 {
            break;
        }
        seen.extend_from_slice(&piece[..read]);
    }
    assert!(child.wait().expect("its end").success());
    let seen = String::from_utf8_lossy(&seen);
    let drawn = seen.matches("measuring the disk").count();
    assert!(drawn > 3 && seen.contains('\u{1b}'), "drawn {drawn} times: {seen:?}");
}
