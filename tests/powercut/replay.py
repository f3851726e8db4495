#!/usr/bin/env python3
"""Replays a disk's write log to random power cuts and looks what is left of the database.

    replay.py DIR STATES   DIR has data.base and data.log (tests/host/lib/vm.sh); exits with 1 on a loss

At each cut the disk has all that was written before the last flush, and of what was written since either
all (a cut between two writes) or a random half (a disk that reorders). The file system is repaired as at
a boot, the database opened as the agent opens it, and compared with what was acknowledged before the cut.
The control, a database with synchronous=NORMAL, must have lost something: or the test can see no loss.
"""
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time

import logwrites
NOTES = {"agent": 32 << 20, "normal": (32 << 20) + 4096}  # As in workload.py.

AGENT = ("agent", "_agent/state.db")
NORMAL = ("normal", "control.db")
CONTROLS = 10


class Loss(Exception):
    """What is wrong with a state."""


def notes(entries, kind):
    """Index and content of every acknowledgement in the log."""
    return [
        (i, json.loads(entry.data.rstrip(b"\0")))
        for i, entry in enumerate(entries)
        if entry.data and entry.offset == NOTES[kind] and entry.data[0] != 0
    ]


def look(disk, database, expected, scratch):
    """Raises [`Loss`] unless the database on this disk is whole and holds one of `expected`."""
    image = os.path.join(scratch, "disk.img")
    with open(image, "wb") as file:
        file.write(disk)
    fsck = subprocess.run(["e2fsck", "-fy", image], capture_output=True, text=True)
    if fsck.returncode >= 4:
        raise Loss(f"e2fsck: {fsck.stdout}{fsck.stderr}")
    copy = os.path.join(scratch, "state.db")
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(copy + suffix):
            os.remove(copy + suffix)
    dumps = "".join(f"dump /{database}{suffix} {copy}{suffix}\n" for suffix in ("", "-wal"))
    subprocess.run(["debugfs", "-f", "-", image], input=dumps, capture_output=True, text=True, check=True)
    if not os.path.exists(copy):
        raise Loss("there is no database")
    try:
        db = sqlite3.connect(copy)
        verdict = db.execute("PRAGMA integrity_check").fetchall()
        if verdict != [("ok",)]:
            raise Loss(f"integrity_check: {verdict}")
        found = dict(db.execute("SELECT id, uuid FROM instances"))
        db.close()
    except sqlite3.Error as error:
        raise Loss(f"sqlite: {error}") from error
    if found not in expected:
        wanted = expected[0]
        lost = [i for i in wanted if i not in found]
        back = [i for i in found if i not in wanted]
        raise Loss(f"lost {lost}, there again {back}, other uuids: {not lost and not back}")


def cut_often(entries, base, which, count, rng, scratch):
    """The losses among `count` states, as (cut, how, what)."""
    kind, database = which
    acknowledged = notes(entries, kind)
    first, last = acknowledged[0][0], acknowledged[-1][0]
    cuts = sorted(rng.randint(first + 1, last) for _ in range(count))
    how = [""]

    def choose(unflushed):
        if rng.random() < 0.5 or len(unflushed) < 2:
            how[0] = "all that was written"
            return unflushed
        how[0] = "half of what was written since the last flush"
        keep = set(rng.sample(range(len(unflushed)), len(unflushed) // 2))
        return [entry for i, entry in enumerate(unflushed) if i in keep]

    # What must be there after each acknowledgement.
    rows, after = {}, []
    for _, note in acknowledged:
        if note["uuid"]:
            rows[note["id"]] = note["uuid"]
        else:
            del rows[note["id"]]
        after.append(dict(rows))
    losses, done = [], 0
    for cut, disk in logwrites.states(base, entries, cuts, choose):
        while done < len(acknowledged) and acknowledged[done][0] < cut:
            done += 1
        # The operation under way may have reached the disk before its acknowledgement.
        expected = after[done - 1 : done + 1]
        try:
            look(disk, database, expected, scratch)
        except Loss as loss:
            losses.append((cut, how[0], str(loss)))
    return losses


def main(directory, count):
    seed = int(os.environ.get("TENEMENT_TEST_SEED") or random.randrange(1 << 32))
    rng = random.Random(seed)
    with open(os.path.join(directory, "data.base"), "rb") as file:
        base = file.read()
    entries = logwrites.read(os.path.join(directory, "data.log"))
    flushes = sum(entry.flush for entry in entries)
    print(f"{len(entries)} entries in the log, {flushes} of them flushes; TENEMENT_TEST_SEED={seed}")
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(dir=shm, prefix="tenement-powercut-") as scratch:
        losses = cut_often(entries, base, AGENT, count, rng, scratch)
        control = cut_often(entries, base, NORMAL, CONTROLS, rng, scratch)
    took = time.monotonic() - begin
    for cut, how, what in losses[:10] + control[:1]:
        print(f"cut after entry {cut}, {how}: {what[:300]}")
    print(
        f"powercut.states {count}, powercut.lost {len(losses)}, the control lost in {len(control)} of"
        f" {CONTROLS}; {(count + CONTROLS) / took:.1f} states/s"
    )
    if losses:
        sys.exit("acknowledged registrations did not survive a power cut")
    if not control:
        sys.exit("synchronous=NORMAL lost nothing: this test can't see a loss")


main(sys.argv[1], int(sys.argv[2]))
