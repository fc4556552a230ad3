"""Resolving `cost_billing` for 10,000 tenants, beside the least and the usual way to do it.

    python benchmarks/resolve.py

- `str.format_map` over the template's strings that hold placeholders, with the values at hand: at
  most 4 times its time, for resolved steps, bound query parameters and checked names.
- The file rendered with Jinja2 and read with `yaml.safe_load`, for each tenant: at least 20 times
  faster.

Interleaved rounds in one process, medians; exits 1 over a limit.
"""

import datetime as dt
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import yaml

from shared.templates.built_ins import BuiltIns
from shared.templates.loader import TemplateLibrary
from shared.templates.placeholders import Placeholder, split
from shared.templates.resolver import resolve

ROOT = Path(__file__).resolve().parents[1]
NAME = "gcp/cost/cost_billing"
TENANTS = 10_000
RENDERED_TENANTS = 40
ROUNDS = 9
MOST_OF_FORMAT = 4.0
LEAST_OF_RENDER = 20
FORMAT = "str.format_map over its texts"
RESOLVE = "resolve"
OVERRIDE = "resolve with a body"
RENDER = "Jinja2 and yaml.safe_load"
WHILE_RUNNING = {
    "failed_step": "extract_billing_costs",
    "error_message": "no such table",
    "steps": SimpleNamespace(extract_billing_costs=SimpleNamespace(dates=["2025-11-15"])),
}


def strings(value: Any) -> Iterator[str]:
    """All texts of a YAML document but its keys."""
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def written(text: str, opening: str, closing: str, escape: Callable[[str], str]) -> str:
    """`text` with its placeholders between other signs."""
    parts = split(text)
    return "".join(
        f"{opening}{part.name}{closing}" if isinstance(part, Placeholder) else escape(part)
        for part in parts
    )


def has_placeholder(text: str) -> bool:
    return any(isinstance(part, Placeholder) for part in split(text))


def doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def facts(number: int) -> BuiltIns:
    return BuiltIns(
        tenant_id=f"tenant_{number:05}",
        date=dt.date(2025, 11, 15),
        run_date=dt.date(2025, 11, 16),
        project_id="convergence-local",
        pipeline_logging_id=f"11111111-2222-4333-8444-{number:012}",
        trigger_by="scheduler",
        company_name=f"Tenant {number}",
        billing_account_ids=[f"0A1B2C-111111-{number:06}"],
        admin_email=f"admin{number}@example.com",
    )


def seconds_per_tenant(work: Callable[[], None], tenants: int) -> float:
    gc.collect()
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / tenants


Work = tuple[Callable[[], None], int]
"""What is measured, and for how many tenants it works in one call."""


def works() -> dict[str, Work]:
    template = TemplateLibrary(ROOT / "configs").named(NAME)
    source = (ROOT / "configs" / f"{NAME}.yml").read_text(encoding="utf-8")
    runs = [facts(number) for number in range(TENANTS)]
    values = [resolve(template, run).variables | WHILE_RUNNING for run in runs]
    known = strings(yaml.safe_load(source))
    texts = [written(text, "{", "}", doubled) for text in known if has_placeholder(text)]
    page = jinja2.Environment().from_string(written(source, "{{ ", " }}", str))

    def format_all() -> None:
        for known in values:
            for text in texts:
                text.format_map(known)

    def resolve_all(overrides: dict[str, Any] | None = None) -> None:
        for run in runs:
            resolve(template, run, overrides)

    def render_some() -> None:
        for known in values[:RENDERED_TENANTS]:
            yaml.safe_load(page.render(known))

    return {
        FORMAT: (format_all, TENANTS),
        RESOLVE: (resolve_all, TENANTS),
        OVERRIDE: (lambda: resolve_all({"destination_table": "copy_of_costs"}), TENANTS),
        RENDER: (render_some, RENDERED_TENANTS),
    }


def main() -> int:
    measured = works()
    samples: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(ROUNDS):
        for name, (work, tenants) in measured.items():
            samples[name].append(seconds_per_tenant(work, tenants))
    medians = {name: statistics.median(times) for name, times in samples.items()}
    for name, median in medians.items():
        print(f"{name:34} {median * 1e6:8.1f} µs a tenant")
    slowest = max(medians[RESOLVE], medians[OVERRIDE])
    of_format = slowest / medians[FORMAT]
    of_render = medians[RENDER] / slowest
    print(f"of the time of str.format_map      {of_format:8.2f} times (limit {MOST_OF_FORMAT})")
    print(f"faster than Jinja2 and safe_load   {of_render:8.0f} times (at least {LEAST_OF_RENDER})")
    return 1 if of_format > MOST_OF_FORMAT or of_render < LEAST_OF_RENDER else 0


if __name__ == "__main__":
    sys.exit(main())
