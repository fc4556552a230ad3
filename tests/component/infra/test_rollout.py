"""`infra/rollout.sh` against a `gcloud` that keeps traffic in a file."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "infra" / "rollout.sh"
GCLOUD = """#!/usr/bin/env python3
import json, os, pathlib, sys
arguments = sys.argv[1:]
file = pathlib.Path(os.environ["WORLD"])
world = json.loads(file.read_text())
words = [a for a in arguments if not a.startswith("-")]
flags = dict(a.partition("=")[::2] for a in arguments if a.startswith("--"))
assert flags["--project"] == "p" and (flags.get("--region") or flags["--regions"]) == "r"
if words == ["functions", "list"]:
    print("\\n".join(world))
elif words[:3] == ["run", "services", "describe"]:
    service = world[words[3]]
    if flags["--format"] == "json":
        print(json.dumps({"status": {"traffic": service["traffic"]}}))
    else:
        print(service["revisions"][-1])
elif words[:3] == ["run", "services", "update-traffic"]:
    parts = [part.split("=") for part in flags["--to-revisions"].split(",")]
    assert sum(int(percent) for _, percent in parts) == 100
    world[words[3]]["traffic"] = [{"revisionName": n, "percent": int(p)} for n, p in parts]
    file.write_text(json.dumps(world))
elif words == ["run", "revisions", "list"]:
    print("\\n".join(world[flags["--service"]]["revisions"][::-1][: int(flags["--limit"])]))
else:
    sys.exit(f"gcloud does not know {arguments}")
"""
World = dict[str, dict[str, Any]]


class Cloud:
    """Services, their revisions (newest last) and their traffic."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "world.json"
        gcloud = directory / "gcloud"
        gcloud.write_text(GCLOUD)
        gcloud.chmod(0o755)

    def make(self, **services: tuple[list[str], dict[str, int]]) -> None:
        world: World = {
            name: {
                "revisions": revisions,
                "traffic": [{"revisionName": r, "percent": p} for r, p in traffic.items()],
            }
            for name, (revisions, traffic) in services.items()
        }
        self._file.write_text(json.dumps(world))

    def deploy(self, service: str, revision: str) -> None:
        """A new revision; traffic stays where it is pinned."""
        world = json.loads(self._file.read_text())
        world[service]["revisions"].append(revision)
        self._file.write_text(json.dumps(world))

    def traffic(self) -> dict[str, dict[str, int]]:
        world: World = json.loads(self._file.read_text())
        return {
            name: {part["revisionName"]: part["percent"] for part in service["traffic"]}
            for name, service in world.items()
        }

    def rollout(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self._directory}:{os.environ['PATH']}"
        return subprocess.run(
            [str(SCRIPT), *arguments],
            env={
                "PATH": path,
                "WORLD": str(self._file),
                "PROJECT": "p",
                "REGION": "r",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def test_a_release_step_by_step_and_back(cloud: Cloud) -> None:
    cloud.make(api=(["api-1"], {"api-1": 100}), worker=(["w-1"], {"w-1": 100}))
    assert cloud.rollout("pin").returncode == 0
    cloud.deploy("api", "api-2")
    cloud.deploy("worker", "w-2")
    assert cloud.rollout("shift", "10").returncode == 0
    assert cloud.traffic() == {
        "api": {"api-2": 10, "api-1": 90},
        "worker": {"w-2": 10, "w-1": 90},
    }
    assert cloud.rollout("shift", "10").returncode == 0  # again changes nothing
    assert cloud.traffic()["api"] == {"api-2": 10, "api-1": 90}
    assert cloud.rollout("shift", "100").returncode == 0
    assert cloud.traffic() == {"api": {"api-2": 100}, "worker": {"w-2": 100}}
    assert cloud.rollout("back").returncode == 0
    assert cloud.traffic() == {"api": {"api-1": 100}, "worker": {"w-1": 100}}


def test_back_in_the_middle_of_a_canary_returns_everything(cloud: Cloud) -> None:
    cloud.make(api=(["api-1", "api-2"], {"api-2": 60, "api-1": 40}))
    assert cloud.rollout("back").returncode == 0
    assert cloud.traffic() == {"api": {"api-1": 100}}
    status = cloud.rollout("status")
    assert status.stdout == "api: 100 api-1\n"


def test_named_functions_only(cloud: Cloud) -> None:
    cloud.make(api=(["api-1", "api-2"], {"api-1": 100}), worker=(["w-1", "w-2"], {"w-1": 100}))
    assert cloud.rollout("shift", "100", FUNCTIONS="api").returncode == 0
    assert cloud.traffic() == {"api": {"api-2": 100}, "worker": {"w-1": 100}}


def test_a_function_that_was_not_deployed_stays_where_it_is(cloud: Cloud) -> None:
    cloud.make(api=(["api-1"], {"api-1": 100}))
    assert cloud.rollout("shift", "10").returncode == 0
    assert cloud.traffic() == {"api": {"api-1": 100}}
    back = cloud.rollout("back")
    assert (back.returncode, back.stderr) == (1, "api: there is no earlier revision\n")


@pytest.mark.parametrize(
    "arguments", [(), ("shift",), ("shift", "0"), ("shift", "101"), ("pin", "x")]
)
def test_wrong_arguments_are_told_and_nothing_is_done(
    cloud: Cloud, arguments: tuple[str, ...]
) -> None:
    done = cloud.rollout(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: infra/rollout.sh pin | shift PERCENT")


def test_a_gcloud_that_fails_ends_it(cloud: Cloud) -> None:
    done = cloud.rollout("pin")
    assert done.returncode != 0
