#!/usr/bin/python
"""Says what is on a data disk, and whether it may be formatted. Reads only."""

import json
import os
import re
import struct

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: data_disk
short_description: Says what is on a data disk, and whether it may be formatted
description:
  - Reads a block device and tells whether it is provably empty, or an XFS that this role made.
  - Several are the halves of one mirror, which this role makes of disks that are all provably empty.
  - Everything else is refused with a sentence. Nothing is ever changed.
options:
  paths:
    description: The disks, by names that stay, such as those below C(/dev/disk/by-id).
    type: list
    elements: str
    required: true
  mount:
    description: Where it is or will be mounted.
    type: str
    required: true
  label:
    description: Label of a file system, and name of a mirror, that this role made for this place.
    type: str
    required: true
  size_gb:
    description: Size that the disk has to have at least, in GB; a twentieth less is enough.
    type: int
    required: true
author:
  - the project
"""

EXAMPLES = r"""
- name: Look at the disk
  data_disk:
    paths: [/dev/disk/by-id/scsi-0HC_Volume_1]
    mount: /data
    label: relay-data
    size_gb: 800
"""

RETURN = r"""
state:
  description: C(blank), C(ours) or C(refused).
  type: str
  returned: always
refusal:
  description: Why it is refused, and what to do.
  type: str
  returned: when state is refused
device:
  description: The device, without links.
  type: str
  returned: when it is there
uuid:
  description: UUID of the file system.
  type: str
  returned: when state is ours
mounted:
  description: Whether it is mounted at its place.
  type: bool
  returned: when state is ours
grown:
  description: Whether the disk is larger than its file system.
  type: bool
  returned: when state is ours
mirror:
  description: Disks of which the mirror is to be made, be put together, or that are to be added to it.
  type: dict
  returned: when there are several disks
"""

MIB = 1 << 20
# XFS leaves less than an allocation group of the smallest size unused at the end of a disk.
UNUSED_END = 16 * MIB
# Read at both ends of a disk that no program knows anything on.
ENDS = 4 * MIB
# Read in between, evenly: what no program knows and lies between these is not seen.
SAMPLES = 256
SAMPLE = 64 << 10


class Refused(Exception):
    """The disk is not to be touched; says why, and what to do."""


def output(module, words, codes=(0,)):
    """What a program prints; any other exit code is a failure, for then nothing is known."""
    code, out, err = module.run_command(words)
    if code not in codes:
        raise Refused(
            f"`{' '.join(words)}` failed, so nothing is known of the disk: {err.strip()}"
        )
    return out


def find(path):
    """The device behind the name."""
    if not os.path.exists(path):
        folder = os.path.dirname(path)
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        disks = [name for name in names if "-part" not in name]
        there = (
            f"there are: {', '.join(disks)}"
            if disks
            else f"{folder} has no disk at all"
        )
        raise Refused(
            f"{path} is not there; {there}. Correct `by_id` in `data_disks`, or attach the disk"
        )
    device = os.path.realpath(path)
    kind = os.stat(device).st_mode
    if (kind & 0o170000) != 0o060000:
        raise Refused(
            f"{path} is no disk but {device}, a file of another kind. Correct `by_id`"
        )
    return device


def size(device):
    """Bytes of the device."""
    with open(device, "rb") as disk:
        return disk.seek(0, os.SEEK_END)


def mounts(device):
    """Where the device is mounted, and as what else it is used."""
    status = os.stat(device).st_rdev
    number = f"{os.major(status)}:{os.minor(status)}"
    places = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            fields = line.split()
            if fields[2] == number:
                places.append(fields[4])
    with open("/proc/swaps", encoding="utf-8", errors="replace") as lines:
        swaps = [line.split()[0] for line in lines][1:]
    if device in [os.path.realpath(swap) for swap in swaps]:
        places.append("swap")
    return places


def users(device):
    """Devices that are made of this one, such as RAID, LVM or partitions that the kernel knows."""
    base = f"/sys/class/block/{os.path.basename(device)}"
    if not os.path.isdir(base):
        raise Refused(
            f"the kernel says nothing of {device} in {base}, so nothing is known of its use"
        )
    made = (
        sorted(os.listdir(f"{base}/holders"))
        if os.path.isdir(f"{base}/holders")
        else []
    )
    parts = [
        name
        for name in sorted(os.listdir(base))
        if os.path.exists(f"{base}/{name}/partition")
    ]
    return made, parts


def signatures(module, device):
    """What programs know to be on the device, with offsets: of every kind, not of the best one only."""
    found = json.loads(
        output(module, ["wipefs", "--noheadings", "--json", device]) or "{}"
    )
    return found.get("signatures", [])


def tags(module, device):
    """Type, label and so on. Exit code 2 is that nothing is known."""
    out = output(module, ["blkid", "--probe", "--output", "export", device], (0, 2))
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def first_byte(device, length):
    """Offset of a byte that is not zero among those that are looked at, or None."""
    step = max(length // SAMPLES, SAMPLE)
    spans = [(0, ENDS), (max(length - ENDS, 0), ENDS)]
    spans += [(offset, SAMPLE) for offset in range(0, length, step)]
    with open(device, "rb") as disk:
        for offset, count in spans:
            disk.seek(offset)
            data = disk.read(min(count, length - offset))
            if data.strip(b"\0"):
                return offset + len(data) - len(data.lstrip(b"\0"))
    return None


def xfs_bytes(module, device, mount):
    """Bytes of the file system. While it is mounted, its first block on the disk may be of yesterday."""
    if mount:
        said = re.search(
            r"^data\s+=\s+bsize=(\d+)\s+blocks=(\d+)",
            output(module, ["xfs_info", mount]),
            re.MULTILINE,
        )
        if not said:
            raise Refused(
                f"`xfs_info {mount}` does not say how large the file system is"
            )
        return int(said[1]) * int(said[2])
    with open(device, "rb") as disk:
        block = disk.read(16)
    magic, block_size, blocks = struct.unpack(">4sIQ", block)
    if magic != b"XFSB":
        raise Refused(
            f"{device} is called XFS and does not begin as one; look at it with `xfs_repair -n`"
        )
    return block_size * blocks


def other_use(path, mount, places, device):
    """Refuses a disk that is in use."""
    elsewhere = [place for place in places if place != mount]
    if elsewhere:
        raise Refused(
            f"{path} is in use at {', '.join(elsewhere)}, and wanted at {mount}. If it is the right one, "
            f"`umount` it and remove its line of /etc/fstab; else correct `by_id`"
        )
    made, parts = users(device)
    if made:
        raise Refused(
            f"{path} is a member of {', '.join(made)} (RAID or LVM). It is never touched: correct `by_id`"
        )
    if parts:
        raise Refused(
            f"{path} has partitions: {', '.join(parts)}. {WIPE.format(path=path)}"
        )


WIPE = (
    "If nothing on it is wanted any more, type `wipefs --all {path}` on the host and run this again; "
    "else correct `by_id`"
)


def empty_place(mount, places, path):
    """Refuses a place whose files a mount would hide."""
    if mount not in places and os.path.isdir(mount) and os.listdir(mount):
        raise Refused(
            f"{mount} holds files, which {path} mounted there would hide. Move them away"
        )


def large_enough(path, length, size_gb):
    """Refuses a disk that is smaller than the one that was meant."""
    wanted = size_gb * 10**9
    if length * 20 < wanted * 19:
        raise Refused(
            f"{path} has {length / 10**9:.1f} GB where {size_gb} GB are expected: it may be "
            f"another disk. Correct `by_id` or `size_gb` in `data_disks`"
        )


def look(module):
    """Finds out what is on the disk, or on the disks that are one mirror."""
    paths, mount = module.params["paths"], module.params["mount"]
    if len(paths) > 1:
        return look_at_mirror(module, paths, mount)
    return look_at(module, paths[0], find(paths[0]), mount)


def look_at(module, path, device, mount):
    """Finds out what is on one device."""
    label = module.params["label"]
    places = mounts(device)
    other_use(path, mount, places, device)
    empty_place(mount, places, path)
    length = size(device)
    large_enough(path, length, module.params["size_gb"])
    known = signatures(module, device)
    if not known:
        return blank(path, device, length)
    found = tags(module, device)
    foreign = sorted({entry["type"] for entry in known} - {"xfs"})
    if foreign or found.get("TYPE") != "xfs":
        what = ", ".join(foreign) or str(found.get("TYPE"))
        raise Refused(
            f"{path} already holds something: {what}. {WIPE.format(path=path)}"
        )
    if found.get("LABEL") != label:
        raise Refused(
            f"{path} holds an XFS with the label {found.get('LABEL', '(none)')} and not {label}, so it is not the "
            f"one that was made for {mount}. If it is: `xfs_admin -L {label} {path}`; else correct `by_id`"
        )
    return {
        "state": "ours",
        "device": device,
        "uuid": found["UUID"],
        "mounted": mount in places,
        "grown": length - xfs_bytes(module, device, mount if mount in places else None)
        >= UNUSED_END,
    }


def half(module, path, mount):
    """What a disk is to the mirror: `blank`, a `member`, or `missing`."""
    try:
        device = find(path)
    except Refused as refused:
        return {"path": path, "state": "missing", "why": str(refused)}
    known = signatures(module, device)
    if not known:
        other_use(path, mount, mounts(device), device)
        length = size(device)
        large_enough(path, length, module.params["size_gb"])
        return {"path": path, **blank(path, device, length)}
    found = tags(module, device)
    # As `mdadm` writes it: the name alone, or behind that of a machine.
    name = found.get("LABEL", "").rsplit(":", 1)[-1]
    types = sorted({entry["type"] for entry in known})
    if types != ["linux_raid_member"] or name != module.params["label"]:
        what = ", ".join(types) + (f" of {name}" if name else "")
        raise Refused(
            f"{path} already holds something: {what}. {WIPE.format(path=path)}"
        )
    length = size(device)
    large_enough(path, length, module.params["size_gb"])
    made, _ = users(device)
    return {
        "path": path,
        "state": "member",
        "device": device,
        "array": found.get("UUID"),
        "made": made,
    }


def look_at_mirror(module, paths, mount):
    """Finds out what is on disks that are one mirror."""
    halves = [half(module, path, mount) for path in paths]
    there = [one for one in halves if one["state"] != "missing"]
    devices = [one["device"] for one in there]
    if len(set(devices)) < len(devices):
        raise Refused(
            f"{' and '.join(paths)} are the same disk under two names, which mirrors nothing. Correct `by_id`"
        )
    members = [one for one in halves if one["state"] == "member"]
    if not members:
        gone = [one["why"] for one in halves if one["state"] == "missing"]
        if gone:
            raise Refused(f"A mirror is made of all its disks or not at all. {gone[0]}")
        empty_place(mount, [], paths[0])
        mirror = {"make": devices, "assemble": [], "add": []}
        return {"state": "blank", "device": None, "mirror": mirror}
    arrays = sorted({one["array"] for one in members})
    if len(arrays) > 1:
        raise Refused(
            f"{' and '.join(paths)} are of different mirrors: {', '.join(arrays)}. Correct `by_id`"
        )
    made = sorted({name for one in members for name in one["made"]})
    mirror = {
        "make": [],
        "assemble": [] if made else [one["device"] for one in members],
        "add": [one["device"] for one in halves if one["state"] == "blank"],
    }
    if not made:
        return {"state": "ours", "device": None, "mirror": mirror}
    found = look_at(module, f"the mirror {made[0]}", f"/dev/{made[0]}", mount)
    return {**found, "mirror": mirror}


def blank(path, device, length):
    """A disk on which no program knows anything is empty only when nothing is there."""
    offset = first_byte(device, length)
    if offset is not None:
        raise Refused(
            f"{path} holds no file system that is known, but bytes at {offset}: it is not provably empty. If "
            f"nothing on it is wanted, type `blkdiscard --zeroout {path}` on the host and run this again"
        )
    return {"state": "blank", "device": device}


def main():
    """Runs as a module."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "str", "required": True},
            "mount": {"type": "str", "required": True},
            "label": {"type": "str", "required": True},
            "size_gb": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **look(module))
    except Refused as refused:
        module.exit_json(changed=False, state="refused", refusal=str(refused))
    except OSError as error:
        sentence = f"{', '.join(module.params['paths'])} cannot be read: {error}"
        module.exit_json(changed=False, state="refused", refusal=sentence)


if __name__ == "__main__":
    main()
