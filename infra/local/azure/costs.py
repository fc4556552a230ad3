"""The Query API of Cost Management (Microsoft Learn, "Query - Usage"), over costs that it was told.

It answers what is asked: days, groups, sums and filters, in pages that lead to each other by
`nextLink`, its numbers as they were given. `POST /_local/costs` tells it the costs of a scope:

    {"scope": "subscriptions/...", "page_size": 2, "costs": [
      {"UsageDate": "2025-11-15", "Currency": "EUR", "Cost": "1.10", "ServiceName": "Storage",
       "tags": {"team": "blue"}}]}
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_EXACT = Context(prec=100)


@dataclass(frozen=True)
class _Known:
    costs: list[dict[str, Any]]
    page_size: int


class Costs:
    """Scopes and their costs."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    async def tell(self, request: Request) -> Response:
        told = await request.json()
        self._known[told["scope"].lower()] = _Known(told["costs"], told.get("page_size", 1000))
        return Response(status_code=204)

    async def query(self, request: Request) -> Response:
        if not request.headers.get("Authorization", "").startswith("Bearer "):
            return _error(401, "AuthenticationFailed", "The 'Authorization' header is missing.")
        scope = request.path_params["scope"].strip("/")
        known = self._known.get(scope.lower())
        if known is None:
            return _error(404, "NotFound", f"Scope {scope} is not known.")
        asked = await request.json()
        columns = _columns(asked["dataset"])
        rows = _rows(asked, known.costs)
        start = int(request.query_params.get("$skiptoken", "0"))
        end = start + known.page_size
        version = request.query_params["api-version"]
        link = f"{str(request.url).partition('?')[0]}?api-version={version}&$skiptoken={end}"
        page = ",".join(f"[{','.join(row)}]" for row in rows[start:end])
        head = json.dumps({"nextLink": link if end < len(rows) else None, "columns": columns})
        content = f'{{"properties": {head[:-1]}, "rows": [{page}]}}}}'
        return Response(content, media_type="application/json")


def _columns(dataset: Mapping[str, Any]) -> list[dict[str, str]]:
    columns = [{"name": name, "type": "Number"} for name in dataset["aggregation"]]
    columns.append({"name": "UsageDate", "type": "Number"})
    for grouping in dataset.get("grouping", []):
        names = ["TagKey", "TagValue"] if grouping["type"] == "TagKey" else [grouping["name"]]
        columns += [{"name": name, "type": "String"} for name in names]
    return [*columns, {"name": "Currency", "type": "String"}]


def _rows(asked: Mapping[str, Any], costs: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of the answer, each value as JSON writes it."""
    dataset = asked["dataset"]
    first, last = (asked["timePeriod"][end][:10] for end in ("from", "to"))
    sums: dict[tuple[str, ...], list[Decimal]] = {}
    for cost in costs:
        if first <= cost["UsageDate"] <= last and _passes(cost, dataset.get("filter")):
            keys = [cost["UsageDate"].replace("-", "")]
            for grouping in dataset.get("grouping", []):
                name = grouping["name"]
                if grouping["type"] == "TagKey":
                    keys += [json.dumps(name), json.dumps(cost.get("tags", {}).get(name))]
                else:
                    keys.append(json.dumps(cost.get(name)))
            added = sums.setdefault(
                (*keys, json.dumps(cost["Currency"])), [Decimal(0)] * len(dataset["aggregation"])
            )
            for place, name in enumerate(dataset["aggregation"]):
                added[place] = _EXACT.add(added[place], Decimal(cost.get(name, "0")))
    return [[*map(str, amounts), *keys] for keys, amounts in sums.items()]


def _passes(cost: Mapping[str, Any], test: Mapping[str, Any] | None) -> bool:
    if test is None:
        return True
    if "and" in test:
        return all(_passes(cost, inner) for inner in test["and"])
    if "or" in test:
        return any(_passes(cost, inner) for inner in test["or"])
    if "dimensions" in test:
        return cost.get(test["dimensions"]["name"]) in test["dimensions"]["values"]
    return cost.get("tags", {}).get(test["tags"]["name"]) in test["tags"]["values"]


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)
