"""The deployment's smoke test, against the stack as against the cloud."""

import subprocess
from pathlib import Path

from tests.system.world import World

SCRIPT = Path(__file__).parents[2] / "infra" / "smoke.sh"


def _smoke(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), url], capture_output=True, text=True, timeout=180, check=False
    )


def test_a_running_stack_passes(world: World) -> None:
    done = _smoke(f"{world.stack.urls['gateway']}/")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "200 /health"


def test_what_is_no_deployment_fails_with_its_answer(world: World) -> None:
    """The mailbox is a server too, but not this one."""
    done = _smoke(world.stack.urls["mailbox"])
    assert done.returncode == 1
    assert "/ready: " in done.stderr or "/health: " in done.stderr
    assert "instead of 200" in done.stderr
