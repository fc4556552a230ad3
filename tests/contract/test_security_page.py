"""What docs/security.md names exists, and what it says of packages is so."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"tests/[\w/]+\.py(?:::\w+)?", PAGE)))


def test_there_is_a_test_behind_every_attack() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count(" | ") == 3]
    attacks = [row for row in rows if not row.startswith(("| attack", "| asset"))]
    assert len(attacks) > 25
    assert [row for row in attacks if not re.search(r"\| tests/[^|]+\|$", row)] == []


@pytest.mark.parametrize("named", NAMED)
def test_every_test_that_is_named_exists(named: str) -> None:
    file, _, test = named.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {test}\(" if test else r"^def test_", text, re.MULTILINE)


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE)
    named = re.findall(r"`(infra/[\w./-]+)`", PAGE)
    missing = [link for link in links if not (ROOT / "docs" / link).exists()]
    assert missing + [name for name in named if not (ROOT / name).exists()] == []


def test_every_deployed_package_is_pinned_with_hashes() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    pins = [line for line in lines.splitlines() if re.match(r"[a-z0-9]", line)]
    assert len(pins) > 40
    unsafe = [pin for pin in pins if not re.match(r"\S+==\S+ ", pin) or "--hash=sha256:" not in pin]
    assert unsafe == []
