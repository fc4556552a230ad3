"""Answers with what it was asked; on some paths it dies, waits or sends much."""

import os
import threading
from typing import Any

from flask import Request, Response, jsonify


def echo(request: Request) -> Any:
    if request.path.startswith("/echo/crash"):
        os.abort()
    if request.path.startswith("/echo/slow"):
        threading.Event().wait(float(request.args["seconds"]))
    if request.path.startswith("/echo/stream"):
        size, count = 65536, int(request.args["chunks"])
        return Response((b"x" * size for _ in range(count)), mimetype="application/octet-stream")
    if request.path.startswith("/echo/large"):
        return Response(b"x" * int(request.args["bytes"]))
    body = request.get_data()
    answer = jsonify(
        method=request.method,
        path=request.full_path.rstrip("?"),
        headers=list(request.headers.items()),
        body=body.decode("utf-8", "replace") if len(body) < 1000 else None,
        body_bytes=len(body),
        pid=os.getpid(),
        environment=dict(os.environ),
        directory=os.getcwd(),  # noqa: PTH109 - the string is the answer
        compiled=__cached__ is not None and os.path.exists(__cached__),  # noqa: PTH110
    )
    answer.headers["X-Answered-By"] = "echo"
    answer.headers.add("Set-Cookie", "a=1")
    answer.headers.add("Set-Cookie", "b=2")
    return answer, int(request.args.get("status", 200))
