"""Who descends from a process, and whether they live, out of /proc."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """A process, not mistaken for a later one of the same number."""

    pid: int
    started: int


def descendants(pid: int) -> set[Identity]:
    """Children of `pid`, their children and so on; `pid` left out."""
    known = _processes()
    found: set[int] = set()
    wanted = {pid}
    while wanted:
        wanted = {child for child, (parent, _) in known.items() if parent in wanted} - found
        found |= wanted
    return {Identity(found_pid, known[found_pid][1]) for found_pid in found}


def alive(identities: set[Identity]) -> set[Identity]:
    """Those that run still; zombies do not."""
    known = _processes()
    return {one for one in identities if known.get(one.pid, (0, -1))[1] == one.started}


def _processes() -> dict[int, tuple[int, int]]:
    """Pid → (parent, start time) of every process that is no zombie."""
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            try:
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                found[int(directory.name)] = (int(fields[1]), int(fields[19]))
    return found
