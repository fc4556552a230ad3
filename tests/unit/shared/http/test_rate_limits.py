"""Shares of requests: who is refused, when, and what the answers say."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pytest_mock import MockerFixture

from shared.errors import UnauthenticatedError
from shared.http import rate_limits
from shared.http.routes import Route, serve
from shared.models import Model
from shared.settings import SettingsError, from_environment, settings
from shared.tenancy.api_keys import ApiKey
from shared.variable_readers import Rate


class Done(Model):
    """An answer."""

    ok: bool = True


def _forget() -> None:
    settings.cache_clear()
    rate_limits._counts.cache_clear()


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set rates; those not named are off."""

    def choose(**chosen: str) -> None:
        for name in ("RUNS", "ENDPOINT", "GLOBAL"):
            monkeypatch.setenv(f"RATE_LIMIT_{name}", chosen.get(name.lower(), "off"))
        _forget()

    choose()
    yield choose
    _forget()


@pytest.fixture
def shop(mocker: MockerFixture) -> FlaskClient:
    """Routes of two tenants, whose keys are their names."""

    def verify(secret: str) -> ApiKey:
        if secret not in {"acme", "zenith"}:
            raise UnauthenticatedError
        return ApiKey(api_key_id="k", tenant_id=secret, key_hash="h", is_active=True)

    mocker.patch("shared.tenancy.api_keys.verify", side_effect=verify)

    def run(tenant_id: str) -> Done:
        return Done()

    def look() -> Done:
        return Done()

    app = Flask("toy", static_folder=None)
    serve(
        app,
        (
            Route("POST", "/run/{tenant_id}", run, "Run", Done, starts_run=True),
            Route("POST", "/execute/{tenant_id}", run, "Run", Done, starts_run=True),
            Route("GET", "/look", look, "Look", Done),
            Route("GET", "/health", look, "Health", Done, auth="none"),
        ),
    )
    return app.test_client()


def get(client: FlaskClient, path: str, key: str = "acme") -> Any:
    return client.get(path, headers={"X-API-Key": key})


def run(client: FlaskClient, key: str = "acme", word: str = "run") -> Any:
    return client.post(f"/{word}/{key}", headers={"X-API-Key": key})


def test_runs_of_a_tenant_share_one_limit_over_all_routes_that_start_them(
    rates: Callable[..., None], shop: FlaskClient
) -> None:
    rates(runs="3/minute")

    statuses = [run(shop, word=word).status_code for word in ("run", "execute", "run", "execute")]

    assert statuses == [200, 200, 200, 429]
    assert run(shop, "zenith").status_code == 200
    assert get(shop, "/look").status_code == 200


def test_default_is_fifty_runs_a_minute(shop: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNS", "ENDPOINT", "GLOBAL"):
        monkeypatch.delenv(f"RATE_LIMIT_{name}", raising=False)
    _forget()

    statuses = [run(shop).status_code for _ in range(51)]

    assert statuses == [200] * 50 + [429]
    _forget()


def test_endpoint_limit_counts_each_endpoint_and_caller_apart(
    rates: Callable[..., None], shop: FlaskClient
) -> None:
    rates(endpoint="2/minute")

    assert [get(shop, "/look").status_code for _ in range(3)] == [200, 200, 429]
    assert run(shop).status_code == 200
    assert get(shop, "/look", "zenith").status_code == 200


def test_global_limit_counts_everybody(rates: Callable[..., None], shop: FlaskClient) -> None:
    rates(**{"global": "2/minute"})

    assert get(shop, "/look").status_code == 200
    assert run(shop, "zenith").status_code == 200
    assert get(shop, "/look").status_code == 429


def test_refused_request_does_not_use_up_the_wider_share(
    rates: Callable[..., None], shop: FlaskClient
) -> None:
    rates(runs="1/minute", **{"global": "3/minute"})
    for _ in range(10):
        run(shop)

    assert [get(shop, "/look").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("key", ["forged", ""])
def test_request_without_a_good_key_uses_up_nobodys_share(
    key: str, rates: Callable[..., None], shop: FlaskClient
) -> None:
    rates(runs="1/minute", **{"global": "1/minute"})
    for _ in range(5):
        assert shop.post("/run/acme", headers={"X-API-Key": key}).status_code == 401
    rates(runs="1/minute")
    assert shop.post("/run/acme", headers={"X-API-Key": "zenith"}).status_code == 403

    assert run(shop).status_code == 200


def test_health_is_never_limited(rates: Callable[..., None], shop: FlaskClient) -> None:
    rates(**{"global": "1/minute"})

    answers = [get(shop, "/health") for _ in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert not any("RateLimit-Limit" in answer.headers for answer in answers)


def test_headers_tell_what_is_left(rates: Callable[..., None], shop: FlaskClient) -> None:
    rates(runs="2/minute", endpoint="100/minute")

    answers = [run(shop) for _ in range(3)]

    assert [answer.headers["RateLimit-Limit"] for answer in answers] == ["2"] * 3
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert all(58 <= int(answer.headers["RateLimit-Reset"]) <= 60 for answer in answers)
    assert "Retry-After" not in answers[1].headers
    assert answers[2].headers["Retry-After"] == answers[2].headers["RateLimit-Reset"]
    assert get(shop, "/look").headers["RateLimit-Limit"] == "100"


def test_refusal_is_a_problem_that_says_when_to_come_again(
    rates: Callable[..., None], shop: FlaskClient
) -> None:
    rates(runs="1/minute")
    run(shop)

    answer = run(shop)

    assert answer.content_type == "application/problem+json"
    assert answer.json["type"] == "urn:convergence:problem:rate-limited"
    seconds = answer.headers["Retry-After"]
    assert answer.json["detail"] == (
        f"Too many requests: one tenant may start 1 run a minute. Try again in {seconds} seconds."
    )


def test_window_moves(
    rates: Callable[..., None], shop: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any minute none holds more than its share: no fresh start at the turn of a minute."""
    rates(runs="2/minute")
    clock = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    statuses = {}
    for at in (0, 50, 59, 61, 109, 111):
        clock[0] = 1_000_000.0 + at
        statuses[at] = run(shop).status_code

    assert statuses == {0: 200, 50: 200, 59: 429, 61: 200, 109: 429, 111: 200}


def test_rates_off_leave_no_headers(rates: Callable[..., None], shop: FlaskClient) -> None:
    assert "RateLimit-Limit" not in run(shop).headers


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50/minute", Rate(50, 60)),
        ("1/second", Rate(1, 1)),
        ("1000 / hour", Rate(1000, 3600)),
        ("5/day", Rate(5, 86_400)),
        ("off", None),
    ],
)
def test_rates_are_written_as_a_share_of_a_unit(text: str, rate: Rate | None) -> None:
    read = from_environment({"GCP_PROJECT_ID": "p", "RATE_LIMIT_RUNS": text})

    assert rate == read.RATE_LIMIT_RUNS


@pytest.mark.parametrize("text", ["0/minute", "-1/minute", "fifty/minute", "50", "50/week", "/day"])
def test_malformed_rate_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match=r"RATE_LIMIT_RUNS is .*such as 50/minute, or off"):
        from_environment({"GCP_PROJECT_ID": "p", "RATE_LIMIT_RUNS": text})


def test_other_storages_are_refused() -> None:
    with pytest.raises(SettingsError, match="RATE_LIMIT_STORAGE is malformed: write memory://"):
        from_environment({"GCP_PROJECT_ID": "p", "RATE_LIMIT_STORAGE": "memcached://x"})
