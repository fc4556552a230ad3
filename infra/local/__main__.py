"""`python -m infra.local up`, or one service: `python -m infra.local bigquery --port 9050`."""

import argparse
import sys
from pathlib import Path
from typing import Any

from infra import topology
from infra.local.serving import (
    DEFAULT_PORTS,
    DEFAULT_SMTP_PORT,
    DEFAULT_STATE,
    serve,
    serve_for_stack,
)
from infra.topology import TopologyError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="everything the topology names; `ready` once it answers")
    up.add_argument("--ephemeral", action="store_true", help="in memory; nothing stays on disk")
    up.add_argument("--state", type=Path, help="directory of state and logs (.local)")
    up.add_argument("--topology", type=Path, help="another topology file")
    up.add_argument("--root", type=Path, help="another tree to bundle the functions from")
    up.add_argument("--free-ports", action="store_true", help="whatever ports are free")
    up.add_argument("--ports-file", type=Path, help="write URLs, ports and process ids here")
    up.add_argument("--limits", action="store_true", help="hold BigQuery's published rates too")
    up.add_argument("--until-eof", action="store_true", help="stop at the end of stdin, too")
    for name, port in DEFAULT_PORTS.items():
        service = commands.add_parser(name, help=f"{name} alone")
        service.add_argument("--host", default="127.0.0.1")
        service.add_argument("--port", type=int, default=port)
        service.add_argument("--ephemeral", action="store_true", help="keep everything in memory")
        service.add_argument("--state", type=Path, default=DEFAULT_STATE / "state" / name)
        if name == "bigquery":
            service.add_argument("--limits", action="store_true", help="hold published rates too")
        if name == "mailbox":
            service.add_argument("--smtp-port", type=int, default=DEFAULT_SMTP_PORT)
        if name in ("gateway", "cloud-scheduler"):
            service.add_argument("--topology", type=Path, help="another topology file")
        if name == "cloud-scheduler":
            service.add_argument("--target", help="URL before the jobs' paths (the gateway's)")
            service.add_argument("--paused", action="store_true", help="start with paused jobs")
        if name == "gateway":
            service.add_argument(
                "--upstream",
                action="append",
                default=[],
                metavar="FUNCTION=URL",
                help="where a function answers",
            )
    stack = commands.add_parser("serve")
    stack.add_argument("specifications")
    stack.add_argument("--ready-fd", type=int, required=True)
    return parser


def _gateway_settings(options: argparse.Namespace) -> dict[str, Any]:
    deployed = topology.load(options.topology or topology.DEFAULT_PATH)
    local = {
        name: f"http://127.0.0.1:{function.local.port}"
        for name, function in deployed.functions.items()
        if function.local.port
    }
    given = {}
    for upstream in options.upstream:
        name, separator, url = upstream.partition("=")
        if not separator:
            raise ValueError(f"--upstream {upstream}: write it as FUNCTION=URL")
        given[name] = url
    return {
        "routes": [route.model_dump() for route in deployed.routes],
        "upstreams": {**local, **given},
        "timeouts": {name: f.timeout_seconds for name, f in deployed.functions.items()},
    }


def _scheduler_settings(options: argparse.Namespace) -> dict[str, Any]:
    deployed = topology.load(options.topology or topology.DEFAULT_PATH)
    return {
        "jobs": {name: job.model_dump() for name, job in deployed.scheduler_jobs.items()},
        "target": options.target or f"http://127.0.0.1:{DEFAULT_PORTS['gateway']}",
        "project": deployed.local.project,
        "paused": options.paused or deployed.local.pause_scheduler_jobs,
    }


def _serve_one(options: argparse.Namespace) -> int:
    specification: dict[str, Any] = {
        "service": options.command,
        "host": options.host,
        "port": options.port,
        "state": None if options.ephemeral else str(options.state),
    }
    if options.command == "bigquery":
        specification["limits"] = options.limits
    if options.command == "mailbox":
        specification["smtp_port"] = options.smtp_port
    try:
        if options.command == "gateway":
            specification |= _gateway_settings(options)
        if options.command == "cloud-scheduler":
            specification |= _scheduler_settings(options)
    except (TopologyError, ValueError) as error:
        print(f"{options.command}: {error}", file=sys.stderr)
        return 1
    return serve([specification], ready=lambda lines: print(lines, flush=True))


def main() -> int:
    """The command's exit code."""
    options = _parser().parse_args()
    if options.command == "serve":
        return serve_for_stack(options.specifications, options.ready_fd)
    if options.command == "up":
        from infra.local.stack import up

        return up(options)
    return _serve_one(options)


if __name__ == "__main__":
    sys.exit(main())
