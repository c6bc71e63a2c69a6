//! What `installimage` of Hetzner's rescue system is told. Pure.

use std::fmt;

/// A disk by a name that does not change at a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk(String);

/// Why an installation cannot be as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImageError(String);

impl Disk {
    /// Reads `/dev/disk/by-id/…`, a whole disk.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let name = text.strip_prefix("/dev/disk/by-id/").unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:+-".contains(&byte);
        let part = name.rsplit_once("-part").map(|(_, number)| number);
        let is_part = part.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        if name.is_empty() || !name.bytes().all(is_plain) || is_part {
            return Err(ImageError(format!(
                "{text}: a whole disk by its name in /dev/disk/by-id is needed (`ls -l /dev/disk/by-id` in \
                 the rescue system shows them); /dev/sda may be another disk after a restart"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// An installation: what lies where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    hostname: String,
    system: Vec<Disk>,
    data: Vec<Disk>,
    raid_level: Option<u8>,
    release: &'static str,
}

impl Image {
    /// * `system` – disks that are erased
    /// * `data` – disks that must stay as they are
    /// * `raid_level` – of the system's disks; needed when there are several
    ///
    /// # Errors
    /// When the disks do not fit each other or the level, or the system is not known.
    pub fn new(
        hostname: &str,
        system: Vec<Disk>,
        data: Vec<Disk>,
        raid_level: Option<u8>,
        os: &str,
    ) -> Result<Self, ImageError> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if hostname.is_empty() || hostname.len() > 253 || !hostname.bytes().all(is_name) {
            return Err(ImageError(format!(
                "host name `{hostname}`: letters, digits, dots and hyphens"
            )));
        }
        let release = match os {
            "debian-12" => "Debian-12*-bookworm-amd64-base.tar.gz",
            "debian-13" => "Debian-13*-trixie-amd64-base.tar.gz",
            "ubuntu-24.04" => "Ubuntu-24*-noble-amd64-base.tar.gz",
            _ => {
                let known = "debian-12, debian-13, ubuntu-24.04";
                return Err(ImageError(format!("system `{os}`: one of {known}")));
            }
        };
        if data.is_empty() {
            return Err(ImageError(
                "name the data disks, so that they are looked at before".to_owned(),
            ));
        }
        let all: Vec<&Disk> = system.iter().chain(&data).collect();
        let twice = all
            .iter()
            .enumerate()
            .find(|(place, disk)| all.iter().take(*place).any(|one| one == *disk));
        if let Some((_, disk)) = twice {
            return Err(ImageError(format!(
                "{disk} is named twice; each disk is for the system or for data"
            )));
        }
        let least = match raid_level {
            None => 1,
            Some(0 | 1) => 2,
            Some(5) => 3,
            Some(6 | 10) => 4,
            Some(level) => {
                return Err(ImageError(format!("RAID level {level}: one of 0, 1, 5, 6, 10")));
            }
        };
        let fits = if raid_level.is_none() { system.len() == 1 } else { system.len() >= least };
        if !fits {
            return Err(ImageError(format!(
                "{} system disks with {}: one disk needs no level, several need one, and level 0 and 1 need two, \
                 5 three, 6 and 10 four",
                system.len(),
                raid_level
                    .map_or("no RAID level".to_owned(), |level| format!("RAID level {level}"))
            )));
        }
        Ok(Self { hostname: hostname.to_owned(), system, data, raid_level, release })
    }

    /// The disks of the system, then those of the data.
    pub(super) fn disks(&self) -> impl Iterator<Item = &Disk> {
        self.system.iter().chain(&self.data)
    }

    /// Pattern of the image's file.
    pub(super) fn release(&self) -> &'static str {
        self.release
    }

    /// The file for `installimage`. It erases the disks that it names, and no others.
    ///
    /// * `paths` – what the disks are called now, in the order of [`Image::disks`]
    /// * `file` – path of the image
    ///
    /// # Errors
    /// When two names mean the same disk.
    pub(super) fn config(&self, paths: &[String], file: &str) -> Result<String, ImageError> {
        let named: Vec<(&Disk, &String)> = self.disks().zip(paths).collect();
        for (place, (disk, path)) in named.iter().enumerate() {
            let same = named.iter().take(place).find(|(_, one)| one == path);
            if let Some((other, _)) = same {
                return Err(ImageError(format!(
                    "{disk} and {other} are the same disk, {path}; nothing was erased"
                )));
            }
        }
        let mut lines: Vec<String> = paths
            .iter()
            .take(self.system.len())
            .enumerate()
            .map(|(place, path)| format!("DRIVE{} {path}", place + 1))
            .collect();
        lines.push(format!("SWRAID {}", u8::from(self.raid_level.is_some())));
        lines.extend(self.raid_level.map(|level| format!("SWRAIDLEVEL {level}")));
        lines.push("BOOTLOADER grub".to_owned());
        lines.push(format!("HOSTNAME {}", self.hostname));
        lines.extend(
            ["PART /boot ext4 1G", "PART swap swap 4G", "PART / ext4 all"].map(ToOwned::to_owned),
        );
        lines.push(format!("IMAGE {file}\n"));
        Ok(lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str) -> Disk {
        Disk::parse(&format!("/dev/disk/by-id/{name}")).unwrap()
    }

    fn image(system: &[&str], data: &[&str], level: Option<u8>) -> Result<Image, ImageError> {
        let all = |names: &[&str]| names.iter().map(|name| disk(name)).collect();
        Image::new("relay.example.com", all(system), all(data), level, "debian-12")
    }

    /// The file names the disks of the system only: what it does not name, `installimage` leaves alone.
    #[test]
    fn only_the_disks_of_the_system_are_named() {
        let image = image(&["one", "two"], &["three"], Some(1)).unwrap();
        let paths = ["/dev/nvme0n1", "/dev/nvme1n1", "/dev/nvme2n1"].map(ToOwned::to_owned);
        assert_eq!(
            image.config(&paths, "/images/debian.tar.gz").unwrap(),
            "DRIVE1 /dev/nvme0n1\nDRIVE2 /dev/nvme1n1\nSWRAID 1\nSWRAIDLEVEL 1\nBOOTLOADER grub\n\
             HOSTNAME relay.example.com\nPART /boot ext4 1G\nPART swap swap 4G\nPART / ext4 all\n\
             IMAGE /images/debian.tar.gz\n"
        );
    }

    /// Two names of one disk would erase the data.
    #[test]
    fn one_disk_under_two_names_is_refused() {
        let image = image(&["one"], &["two"], None).unwrap();
        let paths = ["/dev/nvme0n1", "/dev/nvme0n1"].map(ToOwned::to_owned);
        let error = image.config(&paths, "x").unwrap_err().to_string();
        assert!(error.contains("are the same disk, /dev/nvme0n1"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_refused_before_anything_is_asked() {
        for (system, data, level) in [
            (&["one"][..], &["one"][..], None),
            (&["one", "one"], &["two"], Some(1)),
            (&["one", "two"], &["three"], None),
            (&["one"], &["two"], Some(1)),
            (&["one", "two"], &["three"], Some(5)),
            (&["one", "two"], &["three"], Some(4)),
            (&[], &["three"], None),
            (&["one"], &[], None),
        ] {
            assert!(image(system, data, level).is_err(), "{system:?} {data:?} {level:?}");
        }
        for text in [
            "/dev/sda",
            "/dev/disk/by-id/",
            "/dev/disk/by-id/a-part1",
            "/dev/disk/by-id/a b",
            "one",
        ] {
            assert!(Disk::parse(text).is_err(), "{text}");
        }
        assert!(
            Image::new("a b", vec![disk("one")], vec![disk("two")], None, "debian-12").is_err()
        );
        assert!(Image::new("a", vec![disk("one")], vec![disk("two")], None, "windows").is_err());
    }
}
