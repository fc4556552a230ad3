"""What `make secrets` and the pre-commit hook refuse, and what they know to be made up."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SLACK = "hooks.slack.com"
# In parts, so that this file is none of those that are refused.
PLANTED = {
    "AWS Access Key": 'identity = "AKIA' + 'QWERTYUIOPASDFGH"',
    "Private Key": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "Secret Keyword": "SMTP_PASS" + 'WORD = "xK9mPqWz7LnR4vY"',
    "Slack Token": f"url = 'https://{SLACK}/services/T024BE7LD/B024BE7LD/q1w2e3r4t5y6u7i8'",
    "Hex High Entropy String": 'admin = "9f86d081884c7d65' + '9a2feaa0c55ad015a3bf4f1b2b0b822c"',
}


def scan(*files: Path) -> "subprocess.CompletedProcess[str]":
    hook = Path(sys.executable).with_name("detect-secrets-hook")
    return subprocess.run(
        [hook, "--no-verify", "--baseline", ".secrets.baseline", *files],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_secret_is_refused_and_not_repeated(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text(f"first = 1\n{PLANTED[kind]}\n", encoding="utf-8")

    ran = scan(file)

    assert ran.returncode == 1
    assert kind in ran.stdout
    assert "planted.py:2" in ran.stdout
    assert PLANTED[kind] not in ran.stdout


def test_what_is_made_up_passes_and_changes_nothing() -> None:
    known = (ROOT / ".secrets.baseline").read_bytes()

    ran = scan(Path("shared/http/examples.py"), Path("tests/credential_samples.py"), Path(__file__))

    assert (ran.returncode, ran.stdout) == (0, "")
    assert (ROOT / ".secrets.baseline").read_bytes() == known


def test_commits_and_builds_are_scanned() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (entry,) = (h["entry"] for h in hooks["repos"][0]["hooks"] if h["id"] == "secrets")
    assert "--baseline .secrets.baseline" in entry
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text(encoding="utf-8"))
    (step,) = (step for step in build["steps"] if step["id"] == "secrets")
    assert step["args"] == ["secrets"]
    (plan,) = (step for step in build["steps"] if step["id"] == "plan")
    assert "secrets" in plan["waitFor"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^secrets:.*\n.*detect-secrets-hook", makefile, re.MULTILINE)
