//! Where the sequence of a reference relay ends.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read as _},
    path::Path,
};

use super::reading::{RECORD_HEAD, record};

/// Above the first seq of its newest file when nobody can say more: a file has 10,000 events, and some
/// more for each restart that met it.
const BEYOND_FIRST: u64 = 1_000_000;

/// Its end, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// No number above it was given out.
    pub seq: u64,
    /// Where it was found, for people.
    pub found: String,
}

/// * `said` – what a person says
/// * `dir` – where its event log lies, when a person says so
/// * `newest` – name and first seq of the newest file, as its database has it
///
/// # Errors
/// A sentence that says what to add.
pub(super) fn find(
    said: Option<u64>,
    dir: Option<&Path>,
    newest: Option<&(String, i64)>,
) -> Result<Head, String> {
    let (head, first) = match (said, newest) {
        (Some(seq), newest) => {
            (Head { seq, found: "--head".to_owned() }, newest.map_or(0, |newest| newest.1))
        }
        (None, None) => {
            return Err(
                "its database names no file of its event log: say with --head the newest seq \
                        that it gave out"
                    .to_owned(),
            );
        }
        (None, Some((path, first))) => {
            let first_seq = u64::try_from(*first).unwrap_or(0);
            let head = match dir {
                Some(dir) => of_file(&dir.join(file_name(path)), first_seq)?,
                None => Head {
                    seq: first_seq.saturating_add(BEYOND_FIRST),
                    found: format!(
                        "{BEYOND_FIRST} above the first seq of its newest file, {path}; --log-dir \
                         reads the file itself"
                    ),
                },
            };
            (head, *first)
        }
    };
    // Of a file that was just begun, the one before ended right below.
    if head.seq.saturating_add(1) < u64::try_from(first).unwrap_or(0) {
        let (seq, found) = (head.seq, head.found);
        return Err(format!(
            "the newest seq {seq} ({found}) is below {first}, with which its newest file begins: \
             consumers have seen more than that"
        ));
    }
    Ok(head)
}

/// The last part: the database may hold the place on the old machine.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn of_file(path: &Path, first: u64) -> Result<Head, String> {
    let shown = path.display();
    let cannot = |error: io::Error| {
        format!(
            "the newest file of its event log, {shown}, cannot be read: {error}; say --head instead"
        )
    };
    let mut file = BufReader::new(File::open(path).map_err(cannot)?);
    let mut seq = first.saturating_sub(1);
    loop {
        let mut head = [0; RECORD_HEAD];
        match file.read_exact(&mut head) {
            Ok(()) => {}
            // The end, or a record that was being written.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(cannot(error)),
        }
        let (length, number) = record(head);
        if number <= seq {
            return Err(format!(
                "the newest file of its event log, {shown}, is not understood: seq {number} follows \
                 {seq}; say --head instead"
            ));
        }
        seq = number;
        let skipped = io::copy(&mut (&mut file).take(length), &mut io::sink()).map_err(cannot)?;
        if skipped < length {
            break;
        }
    }
    Ok(Head { seq, found: format!("the last event of {shown}") })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn record_of(seq: u64, body: usize) -> Vec<u8> {
        let mut bytes = vec![0; RECORD_HEAD + body];
        bytes[8..12].copy_from_slice(&u32::try_from(body).unwrap().to_le_bytes());
        bytes[20..28].copy_from_slice(&seq.to_le_bytes());
        bytes
    }

    /// I4: numbers go on above what a person says, what the files hold, or what they can hold.
    #[test]
    fn the_head_is_what_is_said_or_read_or_far_above() {
        let dir = tempfile::tempdir().unwrap();
        let newest = Some(("/old/place/evts-50".to_owned(), 50));
        let whole = [record_of(50, 3), record_of(51, 0), record_of(60, 70_000)].concat();
        for (bytes, expected) in [
            (whole.clone(), 60),
            ([whole.clone(), vec![0; 5]].concat(), 60),
            ([whole.clone(), record_of(61, 9)[..30].to_vec()].concat(), 61),
            (Vec::new(), 49),
        ] {
            fs::write(dir.path().join("evts-50"), bytes).unwrap();
            let found = find(None, Some(dir.path()), newest.as_ref()).unwrap();
            assert_eq!(found.seq, expected);
        }
        assert_eq!(find(Some(70), None, newest.as_ref()).unwrap().seq, 70);
        assert_eq!(find(None, None, newest.as_ref()).unwrap().seq, 1_000_050);
    }

    /// I4: a number that must be wrong is refused, and so is not knowing.
    #[test]
    fn a_head_below_what_consumers_have_seen_is_refused() {
        let newest = Some(("evts-50".to_owned(), 50));
        assert!(find(Some(48), None, newest.as_ref()).unwrap_err().contains("is below 50"));
        assert!(find(None, None, None).unwrap_err().contains("--head"));
        let dir = tempfile::tempdir().unwrap();
        assert!(find(None, Some(dir.path()), newest.as_ref()).unwrap_err().contains("evts-50"));
        fs::write(dir.path().join("evts-50"), [record_of(50, 0), record_of(7, 0)].concat())
            .unwrap();
        let odd = find(None, Some(dir.path()), newest.as_ref()).unwrap_err();
        assert!(odd.contains("seq 7 follows 50"), "{odd}");
    }
}
