"""A copy of the configuration in which `terraform` runs with the provider of this folder."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infra import topology as topologies
from infra.topology import Topology
from tests.terraform.provider import SCHEMA

ROOT = Path(__file__).parents[2]
VERSION = json.loads(SCHEMA.read_text(encoding="utf-8"))["version"]
HASH = "0123456789ab"


class TerraformError(Exception):
    """What Terraform says is wrong."""


@dataclass(frozen=True)
class Workspace:
    """`infra/terraform` and a topology, initialized; state and backend are local and empty."""

    directory: Path
    topology: Topology

    @property
    def terraform(self) -> Path:
        return self.directory / "infra" / "terraform"

    @cached_property
    def bundles(self) -> Path:
        """Archives in name only: a plan does not look inside."""
        folder = self.directory / "dist"
        folder.mkdir(exist_ok=True)
        for function in self.topology.functions.values():
            (folder / f"{function.folder}-{HASH}.zip").touch()
        return folder

    def run(self, *arguments: str, resolved: bool = False) -> str:
        """What a command prints.

        Raises:
            TerraformError: it failed.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_DISABLE_PLUGIN_TLS": "1",
            **({"TF_PLAN_RESOLVED": "1"} if resolved else {}),
        }
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.terraform,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise TerraformError(f"terraform {arguments[0]}: {done.stderr}")
        return done.stdout

    def plan(
        self, tfvars: str = "dev", /, *, resolved: bool = False, **variables: Any
    ) -> dict[str, dict[str, Any]]:
        """Address → values of every resource that is going to be.

        Raises:
            TerraformError: Terraform refuses the configuration or a variable.
        """
        variables["bundle_directory"] = str(self.bundles)
        values = [f"-var={name}={value if isinstance(value, str) else json.dumps(value)}"
                  for name, value in variables.items()]  # fmt: skip
        file = f"-var-file=environments/{tfvars}/terraform.tfvars"
        common = ("-input=false", "-no-color", "-lock=false", "-out=plan")
        self.run("plan", *common, file, *values, resolved=resolved)
        shown = json.loads(self.run("show", "-json", "-no-color", "plan"))
        return dict(_resources(shown["planned_values"]["root_module"]))


def make(directory: Path, topology_file: Path, topology: Topology) -> Workspace:
    """Copy, and initialize with the provider as a plugin in a folder."""
    workspace = Workspace(directory, topology)
    ignored = shutil.ignore_patterns(".terraform*", "terraform.tfstate*")
    shutil.copytree(ROOT / "infra" / "terraform", workspace.terraform, ignore=ignored)
    shutil.copy(topology_file, directory / "infra" / "topology.yaml")
    override = 'terraform {\n  backend "local" {}\n}\n'
    (workspace.terraform / "backend_override.tf").write_text(override)
    plugins = directory / "plugins"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    place = plugins / "registry.terraform.io/hashicorp/google" / VERSION
    plugin = (
        place / f"{os.uname().sysname.lower()}_{machine}" / f"terraform-provider-google_v{VERSION}"
    )
    plugin.parent.mkdir(parents=True)
    command = f"cd '{ROOT}' && exec '{sys.executable}' -m tests.terraform.provider"
    plugin.write_text(f"#!/bin/sh\n{command}\n")
    plugin.chmod(0o755)
    workspace.run("init", "-input=false", "-no-color", f"-plugin-dir={plugins}")
    return workspace


def _resources(module: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for resource in module.get("resources", ()):
        yield resource["address"], resource["values"]
    for child in module.get("child_modules", ()):
        yield from _resources(child)


def main(arguments: list[str]) -> None:
    """`python -m tests.terraform.workspace prod FILE`: an environment's plan, for other checks."""
    tfvars, target = arguments
    with tempfile.TemporaryDirectory() as directory:
        made = make(Path(directory), topologies.DEFAULT_PATH, topologies.load())
        made.plan(tfvars, resolved=True)
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(made.run("show", "-json", "-no-color", "plan"), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
