"""Kills what a stack started when the stack itself is gone, however it went.

Run as a plain file, without site packages, so that it costs little. Its stdin is a pipe that only
the stack can write to: `+123` and `-123` name process groups that began and ended, `rm /path` a
directory to delete at the end. End of file means that the stack is gone.
"""

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Keep the books until end of file, then kill and delete."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    directories: set[str] = set()
    for line in sys.stdin:
        kind, rest = line[0], line[1:].strip()
        if kind == "+":
            groups.add(int(rest))
        elif kind == "-":
            groups.discard(int(rest))
        elif line.startswith("rm "):
            directories.add(line[3:].strip())
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
