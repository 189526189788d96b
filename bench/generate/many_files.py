#!/usr/bin/env python3
"""Writes, for `git fast-import`, one commit with COUNT small files in folders of a hundred.

    many_files.py COUNT | git -C BARE fast-import --quiet
"""

import sys

count = int(sys.argv[1])
out = sys.stdout.buffer
out.write(b"commit refs/heads/main\ncommitter Bench <bench@example.org> 1760000000 +0000\ndata 5\nbegin\n")
for number in range(count):
    body = f"id: {number}\ntitle: File number {number}\nbody: {'lorem ipsum dolor ' * (number % 17)}\n".encode()
    out.write(f"M 100644 inline data/{number // 100:04}/{number:06}.yaml\ndata {len(body)}\n".encode())
    out.write(body + b"\n")
out.write(b"done\n")
