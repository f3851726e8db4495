"""Reads a log of a disk's writes and makes the disks that a power cut could have left.

The format is that of dm-log-writes (Linux, Documentation/admin-guide/device-mapper/log-writes.rst), as
qemu's blklogwrites driver writes it: a super block of one sector, then for each write or flush an entry
of one sector followed by the data.
"""
import struct

MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


class Write:
    """One entry; `offset` and the length of `data` are in bytes."""

    __slots__ = ("offset", "data", "flush", "discard")

    def __init__(self, offset, data, flush, discard):
        self.offset, self.data, self.flush, self.discard = offset, data, flush, discard


def read(path):
    """The entries of a log, in order. It may still be growing: an entry that is not whole ends it."""
    with open(path, "rb") as log:
        text = log.read()
    magic, version, count, sector = struct.unpack_from("<QQQI", text)
    if (magic, version) != (MAGIC, VERSION):
        raise ValueError(f"{path} is no log of writes: magic {magic:#x}, version {version}")
    entries, at = [], sector
    while len(entries) < count and at + sector <= len(text):
        first, sectors, flags, _ = struct.unpack_from("<QQQQ", text, at)
        at += sector
        length = 0 if flags & DISCARD else sectors * sector
        if at + length > len(text):
            break
        data = text[at : at + length]
        at += length
        entries.append(Write(first * sector, data, bool(flags & FLUSH), bool(flags & DISCARD)))
    return entries


def states(base, entries, cuts, choose):
    """For each cut (how many entries reached the disk's controller, ascending) the disk as bytes.

    What was written before the last flush is there. Of what was written since, `choose` says which:
    it gets a list of writes and returns those that made it, in order.
    """
    durable, flushed = bytearray(base), 0
    for cut in cuts:
        last = next((i for i in range(cut - 1, flushed - 1, -1) if entries[i].flush), None)
        if last is not None:
            for entry in entries[flushed : last + 1]:
                apply(durable, entry)
            flushed = last + 1
        disk = bytearray(durable)
        for entry in choose(entries[flushed:cut]):
            apply(disk, entry)
        yield cut, disk


def apply(disk, entry):
    # What a discard leaves is undefined; keeping the old bytes is one of the possibilities.
    disk[entry.offset : entry.offset + len(entry.data)] = entry.data
