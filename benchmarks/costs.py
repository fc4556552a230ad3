"""What runs and tenants cost: counted calls times published prices, as docs/cost.md prints them.

    python benchmarks/costs.py            # exits with 1 when the page says something else
    python benchmarks/costs.py --write    # writes the tables of the page

Counts and prices are benchmarks/data/costs.yml's. Nothing is rounded before it is printed.
"""

import re
import sys
from pathlib import Path
from typing import Any

import yaml

PAGE = Path("docs/cost.md")
DATA: dict[str, Any] = yaml.safe_load(Path("benchmarks/data/costs.yml").read_text("utf-8"))
SIZES = (1, 100, 10_000, 1_000_000)
"""Tenants with one run a day."""
MIB, TIB, GB = 2**20, 2**40, 10**9
LEAST_SCANNED = 10 * MIB
"""BigQuery bills a table that a query references with at least so much."""
_HOURS = 24
_TRIGGERS_A_DAY, _CLEANUPS_A_DAY = 24 * 60, 24 * 6
_LEDGER_DAYS = 7
FIXED = ("an instance of the API kept warm", "load balancer", "keys and secrets")


def amounts(tenants: float, runs_a_day: float = 1.0) -> dict[str, list[tuple[str, float]]]:
    """Line of the bill → (price, how many units of it a month), without what is free."""
    counts, here = DATA["counts"], DATA["assumptions"]
    days, run = here["days"], counts["run"]
    runs = tenants * runs_a_day * days
    seconds = runs * here["seconds_of_a_run"] / here["deliveries_at_once"]
    sent = sum(max(1000, size) for size in run["messages_bytes"])
    month = days * _HOURS * 3600
    return {
        "queries of runs": [("queries", runs * run["mebibytes_billed"] * MIB / TIB)],
        "trigger, process-queue, cleanup": [("queries", _jobs_bytes(tenants, runs) / TIB)],
        "rows streamed": [("rows", runs * run["rows_streamed"] * 1000 / (200 * 10**6))],
        "logs kept, of this month": [("storage", runs * run["log_bytes"] / GB)],
        "messages, published and delivered": [("messages", runs * sent * 2 / TIB)],
        "requests of functions": [("requests", runs * (3 + here["api_calls_a_run"]) / 10**6)],
        "time in functions": [
            ("vcpu_seconds", seconds * here["vcpus"]),
            ("gib_seconds", seconds * here["gibibytes"]),
        ],
        "spans": [("spans", runs * (3 + here["api_calls_a_run"]) / 10**6)],
        FIXED[0]: [("idle_seconds", month * (here["vcpus"] + here["gibibytes"]))],
        FIXED[1]: [("forwarding_rules", days * _HOURS)],
        FIXED[2]: [
            ("key_versions", 2),
            ("secret_versions", 4),
            ("secret_reads", here["secret_reads_a_minute"] * days * _HOURS * 60 / 10_000),
        ],
    }


def _jobs_bytes(tenants: float, runs: float) -> float:
    """What the scheduler's jobs scan in a month: some of it grows with what they look at."""
    counts, days = DATA["counts"], DATA["assumptions"]["days"]

    def scanned(job: str, rows: float) -> float:
        return float(counts[job]["mebibytes_billed"] * MIB + rows)

    def table(size: float) -> float:
        return max(LEAST_SCANNED, size)

    trigger = scanned("trigger", table(tenants * counts["trigger"]["bytes_a_tenant"]))
    queue = scanned("process_queue", 0)
    week = counts["cleanup"]["ledger_bytes_a_run"] * runs * _LEDGER_DAYS / days
    cleanup = scanned("cleanup", 2 * table(week))
    reset = scanned("reset", 0)
    daily = _TRIGGERS_A_DAY * (trigger + queue) + _CLEANUPS_A_DAY * cleanup + reset
    return daily * days


def bill(tenants: float, runs_a_day: float = 1.0, *, free: bool = True) -> dict[str, float]:
    """Line of the bill → US dollars a month. What is free of a price is taken off once."""
    left = {name: price["free"] if free else 0.0 for name, price in DATA["prices"].items()}
    found = {}
    for line, units in amounts(tenants, runs_a_day).items():
        found[line] = 0.0
        for price, amount in units:
            billed = max(0.0, amount - left[price])
            left[price] = max(0.0, left[price] - amount)
            found[line] += billed * DATA["prices"][price]["usd"]
    return found


def of_a_run() -> dict[str, float]:
    """Line → US dollars of one more run, beyond everything that is free."""
    days = DATA["assumptions"]["days"]
    one = bill(1 / days, free=False)
    return {
        line: usd
        for line, usd in one.items()
        if line not in FIXED and line != "trigger, process-queue, cleanup"
    }


def dollars(usd: float) -> str:
    """`$21,450`, `$0.23`, `free`: as exact as it can matter."""
    if usd == 0:
        return "free"
    if usd >= 100:
        return f"${usd:,.0f}"
    return f"${usd:,.2f}" if usd >= 0.01 else "< $0.01"


def tables() -> dict[str, str]:
    """The tables of the page, by their names."""
    run = of_a_run()
    total = sum(run.values())
    lines = [f"| {line} | ${usd * 1000:.4f} | {usd / total:.1%} |" for line, usd in run.items()]
    a_run = ["| of a thousand runs | US dollars | share |", "|---|---:|---:|", *lines]
    a_run.append(f"| **together** | **${total * 1000:.2f}** | |")
    bills = [bill(size) for size in SIZES]
    head = "| a month of one run a day and tenant | " + " | ".join(f"{n:,}" for n in SIZES) + " |"
    months = [head, "|---|" + "---:|" * len(SIZES)]
    months += [
        f"| {line} | " + " | ".join(dollars(one[line]) for one in bills) + " |" for line in bills[0]
    ]
    sums = [sum(one.values()) for one in bills]
    months.append("| **together** | " + " | ".join(f"**{dollars(usd)}**" for usd in sums) + " |")
    each = [usd / size for usd, size in zip(sums, SIZES, strict=True)]
    months.append("| a tenant | " + " | ".join(f"${usd:,.3f}" for usd in each) + " |")
    prices = ["| what | price | free a month | as of | page |", "|---|---|---|---|---|"]
    for name, price in DATA["prices"].items():
        usd, page = f"{price['usd']:.7f}".rstrip("0").rstrip("."), price["page"]
        link = f"[{page}](https://cloud.google.com/{page})"
        free = price.get("free_says") or (f"{price['free']:,}" if price["free"] else "")
        what = f"{name.replace('_', ' ')} | ${usd} per {price['per']}"
        prices.append(f"| {what} | {free} | {price['as_of']} | {link} |")
    plans = ["| plan | runs a day | a tenant a month, at its limit every day |", "|---|---:|---:|"]
    known = yaml.safe_load(Path("configs/plans.yml").read_text("utf-8"))["plans"]
    for name, plan in known.items():
        usd = total * plan["daily_limit"] * DATA["assumptions"]["days"]
        plans.append(f"| {name} | {plan['daily_limit']} | ${usd:.2f} |")
    found = {"run": a_run, "month": months, "plans": plans, "prices": prices}
    return {name: "\n".join(rows) for name, rows in found.items()}


def written(page: str) -> str:
    """The page with its tables as they are now."""
    for name, table in tables().items():
        between = re.compile(rf"(<!-- {name} -->\n)[^<]*(?:<[^!][^<]*)*(<!-- end -->)")
        page, found = between.subn(lambda match, t=table: f"{match[1]}{t}\n{match[2]}", page)
        if found != 1:
            raise SystemExit(f"{PAGE}: there must be one place for the table {name!r}")
    return page


def main() -> int:
    now = PAGE.read_text(encoding="utf-8")
    wanted = written(now)
    print("\n\n".join(tables().values()))
    if "--write" in sys.argv:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if now != wanted:
        print(f"{PAGE} is not what costs.yml says: python benchmarks/costs.py --write")
    return 0 if now == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
