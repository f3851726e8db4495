#!/usr/bin/env python3
"""Takes memory that can't be compressed until MEGABYTES more than is available are taken: hog.py MEGABYTES.

Touches all of it in turn for as long as it lives, so that the kernel finds others' memory colder. Says
`taken` when it has all.
"""
import os, sys

with open("/proc/meminfo") as info:
    available = next(int(line.split()[1]) for line in info if line.startswith("MemAvailable"))
noise = os.urandom(1 << 20)
taken, most = [], available // 1024 + int(sys.argv[1])
while True:
    if len(taken) < most:
        taken.append(bytearray(noise))
        if len(taken) == most:
            print("taken", flush=True)
    for block in taken[::16] if len(taken) < most else taken:
        block[:: 1 << 12] = bytes(1 << 8)
