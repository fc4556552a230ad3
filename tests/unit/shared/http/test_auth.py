from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from pytest_mock import MockerFixture

from shared import secret_values
from shared.errors import UnauthenticatedError
from shared.http import auth
from shared.secret_values import EmptySecretError
from shared.settings import SettingsError, settings
from shared.tenancy.api_keys import ApiKey

ADMIN_SECRET = "projects/p/secrets/admin-api-key/versions/latest"


@pytest.fixture
def asking() -> Iterator[Callable[..., None]]:
    """Make the test run inside a request with these headers."""
    contexts = []

    def enter(**headers: str) -> None:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        context = Flask("toy").test_request_context(headers=sent)
        context.push()
        contexts.append(context)

    yield enter
    for context in reversed(contexts):
        context.pop()


@pytest.fixture
def _key_of_acme(mocker: MockerFixture) -> None:
    def verify(secret: str) -> ApiKey:
        if secret != "good":
            raise UnauthenticatedError
        return ApiKey(api_key_id="k", tenant_id="acme", key_hash="h", is_active=True)

    mocker.patch("shared.tenancy.api_keys.verify", side_effect=verify)


@pytest.mark.usefixtures("_key_of_acme")
def test_tenant_comes_from_the_key_and_the_user_from_a_header(asking: Callable[..., None]) -> None:
    asking(X_API_Key="good", X_User_ID="user-1")

    assert auth.caller_for("acme") == auth.Caller("acme", "k", "user-1")
    assert auth.caller() == auth.Caller("acme", "k", "user-1")


@pytest.mark.usefixtures("_key_of_acme")
def test_key_of_another_tenant_is_refused_with_one_text_for_all(
    asking: Callable[..., None],
) -> None:
    asking(X_API_Key="good")

    with pytest.raises(auth.OtherTenantError) as existing:
        auth.caller_for("zenith")
    with pytest.raises(auth.OtherTenantError) as unknown:
        auth.caller_for("nobody_of_this_name")

    assert str(existing.value) == str(unknown.value)


@pytest.mark.usefixtures("_key_of_acme")
@pytest.mark.parametrize("headers", [{}, {"X_API_Key": ""}, {"X_API_Key": "bad"}])
def test_without_a_good_key_nobody_is_let_in(
    headers: dict[str, str], asking: Callable[..., None]
) -> None:
    asking(**headers)

    with pytest.raises(UnauthenticatedError):
        auth.caller_for("acme")


def test_disabled_authentication_lets_anybody_be_the_tenant_of_the_url(
    asking: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISABLE_AUTH", "true")
    settings.cache_clear()
    asking()

    assert auth.caller_for("acme") == auth.Caller("acme", None, None)


@pytest.mark.parametrize(("sent", "kept"), [("", None), ("u" * 300, "u" * 200), ("a", "a")])
def test_user_is_kept_up_to_two_hundred_characters(
    sent: str, kept: str | None, asking: Callable[..., None]
) -> None:
    asking(X_User_ID=sent)

    assert auth.user_id() == kept


@pytest.fixture
def _admin_key(monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> None:
    monkeypatch.setenv("ADMIN_API_KEY_SECRET", ADMIN_SECRET)
    settings.cache_clear()
    mocker.patch.object(auth, "accepted_values", return_value=(b"operator",))


@pytest.mark.usefixtures("_admin_key")
def test_admin_key_lets_the_operator_in(asking: Callable[..., None]) -> None:
    asking(X_Admin_Key="operator")

    auth.require_admin()


@pytest.mark.usefixtures("_admin_key")
@pytest.mark.parametrize("sent", ["", "operato", "operator ", "OPERATOR", "ópérator"])
def test_wrong_admin_key_is_refused(sent: str, asking: Callable[..., None]) -> None:
    asking(X_Admin_Key=sent)

    with pytest.raises(UnauthenticatedError, match="X-Admin-Key"):
        auth.require_admin()


@pytest.mark.usefixtures("_admin_key")
def test_empty_secret_lets_nobody_in(asking: Callable[..., None], mocker: MockerFixture) -> None:
    mocker.patch.object(auth, "accepted_values", secret_values.accepted_values)
    mocker.patch.object(secret_values, "secret_value", return_value=b" \n\n")
    asking()

    with pytest.raises(EmptySecretError):
        auth.require_admin()


@pytest.mark.usefixtures("_admin_key")
@pytest.mark.parametrize("sent", ["operator", "successor"])
def test_while_the_admin_key_is_rotated_both_let_in(
    sent: str, asking: Callable[..., None], mocker: MockerFixture
) -> None:
    mocker.patch.object(auth, "accepted_values", return_value=(b"successor", b"operator"))
    asking(X_Admin_Key=sent)

    auth.require_admin()


def test_deployment_without_an_admin_secret_says_which_variable_is_missing(
    asking: Callable[..., None],
) -> None:
    asking(X_Admin_Key="operator")

    with pytest.raises(SettingsError, match="ADMIN_API_KEY_SECRET is not set"):
        auth.require_admin()
