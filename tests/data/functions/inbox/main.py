"""Keeps the push deliveries it got and lists them."""

from typing import Any

from flask import Request, jsonify

DELIVERIES: list[Any] = []


def inbox(request: Request) -> Any:
    if request.method == "POST":
        DELIVERIES.append(request.get_json())
        return "", 204
    return jsonify(DELIVERIES)
