import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.http.routes import Route, serve
from shared.models import Model
from shared.telemetry import configure_logging

PATH = "/shops/corner/orders"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Said(Model):
    """An answer."""

    text: str


def body_of(answer: Any) -> Any:
    """The JSON of an answer."""
    return answer.json


def problems(answer: Any) -> dict[str, str]:
    """Pointer to what is wrong there, of a 422."""
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json["errors"]}


def test_body_and_path_reach_the_handler_as_models(client: FlaskClient) -> None:
    answer = client.post(PATH, json={"name": "tea", "tags": ["hot"]})

    assert answer.status_code == 201
    assert answer.content_type == "application/json"
    assert answer.json == {
        "order": {"name": "tea", "count": 1, "tags": ["hot"]},
        "shop": "corner",
    }


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/vnd.orders+json",
        "application/x-www-form-urlencoded",
    ],
)
def test_json_is_taken_where_the_client_did_not_say_so(
    content_type: str | None, client: FlaskClient
) -> None:
    answer = client.post(PATH, data=b'{"name": "t\xc3\xa9"}', content_type=content_type)

    assert answer.status_code == 201
    assert body_of(answer)["order"]["name"] == "té"


@pytest.mark.parametrize(
    "content_type", ["text/xml", "multipart/form-data; boundary=x", "text/plain"]
)
def test_other_content_types_are_refused(content_type: str, client: FlaskClient) -> None:
    answer = client.post(PATH, data=b'{"name": "tea"}', content_type=content_type)

    assert answer.status_code == 415
    assert body_of(answer)["detail"] == "Send the body as application/json."


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"name=tea",
        b"{'name': 'tea'}",
        b'{"name": "tea",}',
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        b'{"name": NaN}',
        b'{"name": "tea", "count": Infinity}',
    ],
)
def test_broken_json_is_named_as_such(data: bytes, client: FlaskClient) -> None:
    found = problems(client.post(PATH, data=data))

    assert list(found) == [""]
    assert found[""].startswith("must be JSON")


@pytest.mark.parametrize("data", [b"", b"  \n"])
def test_empty_body_counts_as_an_empty_object(data: bytes, client: FlaskClient) -> None:
    assert problems(client.post(PATH, data=data)) == {"/name": "is required"}


@pytest.mark.parametrize("data", [b"[]", b'"text"', b"7", b"null", b"true"])
def test_json_that_is_no_object_is_refused(data: bytes, client: FlaskClient) -> None:
    assert list(problems(client.post(PATH, data=data))) == [""]


def test_every_bad_field_is_named_at_once(client: FlaskClient) -> None:
    found = problems(
        client.post(PATH, json={"name": "", "count": "many", "tags": ["a", 7], "a/b~c": 1})
    )

    assert set(found) == {"/name", "/count", "/tags/1", "/a~1b~0c"}
    assert found["/a~1b~0c"] == "is not a field of this request"


def test_error_texts_begin_in_lower_case_after_their_field(client: FlaskClient) -> None:
    found = problems(client.post(PATH, json={"name": 7}))

    assert found == {"/name": "input should be a valid string"}


def test_body_of_a_megabyte_is_taken_and_one_byte_more_is_not(client: FlaskClient) -> None:
    filler = 1_000_000 - len('{"name": ""}')
    largest = ('{"name": "' + "x" * filler + '"}').encode()

    assert client.post(PATH, data=largest).status_code == 201
    answer = client.post(PATH, data=largest + b" ")
    assert answer.status_code == 413
    assert body_of(answer)["detail"] == "The body is larger than 1 MB. Send less."


def test_trailing_slash_is_the_same_path(client: FlaskClient) -> None:
    assert client.post(f"{PATH}/", json={"name": "tea"}).status_code == 201


@pytest.mark.parametrize("sent", ["abc", "A-b_c.1", "x" * 128])
def test_harmless_request_id_is_kept(sent: str, client: FlaskClient) -> None:
    answer = client.post(PATH, json={"name": "tea"}, headers={"X-Request-ID": sent})

    assert answer.headers["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "é", '"', "a;b", "<script>"])
def test_other_request_ids_are_replaced(sent: str | None, client: FlaskClient) -> None:
    headers = {} if sent is None else {"X-Request-ID": sent}

    answer = client.get("/nowhere", headers=headers)

    assert UUID.fullmatch(answer.headers["X-Request-ID"])


def test_request_is_logged_once_with_its_id_and_without_its_body(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()

    client.post(
        PATH,
        json={"name": "confidential"},
        headers={"X-Request-ID": "r1", "X-API-Key": "confidential", "X-User-ID": "u" * 300},
    )

    logged = capsys.readouterr().out
    (entry,) = [json.loads(line) for line in logged.splitlines()]
    assert (entry["request_id"], entry["status"], entry["path"]) == ("r1", 201, PATH)
    assert entry["user_id"] == "u" * 200
    assert "confidential" not in logged


def test_a_path_takes_its_own_methods_not_those_of_a_pattern_that_fits_it_too() -> None:
    app = Flask("toy", static_folder=None)
    serve(
        app,
        (
            Route("GET", "/shops/{shop}", lambda shop: Said(text=shop), "Look", Said, auth="none"),
            Route("POST", "/shops/open", lambda: Said(text="new"), "Open", Said, auth="none"),
        ),
    )
    client = app.test_client()

    assert client.post("/shops/open").json == {"text": "new"}
    for method in ("GET", "PATCH", "TRACE"):
        refused = client.open("/shops/open", method=method)
        assert refused.status_code == 405
        assert refused.headers["Allow"] == "OPTIONS, POST"
        assert refused.content_type == "application/problem+json"
    asked = client.options("/shops/open")
    assert (asked.status_code, asked.headers["Allow"]) == (200, "OPTIONS, POST")
    assert client.options("/shops/tea").headers["Allow"] == "GET, HEAD, OPTIONS"
    assert client.head("/shops/tea").status_code == 200
