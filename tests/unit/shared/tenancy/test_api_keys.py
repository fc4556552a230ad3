import re
from unittest.mock import MagicMock

import pytest
from pytest_mock import MockerFixture

from shared.errors import UnauthenticatedError
from shared.tenancy import api_keys

RANDOM = "A" * 32


@pytest.fixture(autouse=True)
def _checksum_key(monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> None:
    monkeypatch.setenv("API_KEY_CHECKSUM_SECRET", "projects/p/secrets/s/versions/latest")
    mocker.patch.object(api_keys, "accepted_values", return_value=(b"checksum key",))


@pytest.fixture
def store(mocker: MockerFixture) -> object:
    """The store that would be asked; a call to it shows that a query was made."""
    return mocker.patch.object(api_keys, "_find", return_value=None)


def minted(tenant_id: str, mocker: MockerFixture) -> tuple[str, dict[str, object]]:
    mocker.patch.object(api_keys, "seal", return_value=b"sealed")
    append = mocker.patch("shared.warehouse.rows.append")
    key = api_keys.mint(tenant_id, name="test", created_by="somebody")
    (_, (row,)), _ = append.call_args
    return key.secret, dict(row.values)


def test_key_has_the_documented_form_and_names_its_tenant(mocker: MockerFixture) -> None:
    secret, _ = minted("acme_corp", mocker)

    assert re.fullmatch(r"acme_corp_api_[A-Za-z0-9]{40}", secret)


def test_key_is_stored_as_a_hash_and_an_envelope_never_in_the_clear(mocker: MockerFixture) -> None:
    secret, row = minted("acme_corp", mocker)

    assert row["encrypted_key"] == b"sealed"
    assert re.fullmatch(r"[0-9a-f]{64}", str(row["key_hash"]))
    assert not any(secret in str(value) for value in row.values())
    assert secret.startswith(str(row["key_prefix"]))
    assert len(str(row["key_prefix"])) == len("acme_corp_api_") + 6


def test_minted_key_does_not_show_its_secret_when_it_is_printed(mocker: MockerFixture) -> None:
    mocker.patch.object(api_keys, "seal", return_value=b"sealed")
    mocker.patch("shared.warehouse.rows.append")

    key = api_keys.mint("acme_corp", name="test", created_by="somebody")

    assert key.secret not in repr(key)


def test_keys_of_before_hold_while_the_checksum_secret_is_rotated(
    mocker: MockerFixture, store: MagicMock
) -> None:
    before, _ = minted("acme_corp", mocker)
    keys = mocker.patch.object(api_keys, "accepted_values", return_value=(b"new", b"checksum key"))
    after, _ = minted("acme_corp", mocker)

    def is_asked_for(secret: str) -> bool:
        store.reset_mock()
        with pytest.raises(UnauthenticatedError):
            api_keys.verify(secret)
        return bool(store.called)

    assert is_asked_for(before)
    assert is_asked_for(after)
    api_keys._cache.forget(api_keys._hash(after))
    keys.return_value = (b"new",)
    assert not is_asked_for(before)
    assert is_asked_for(after)


def test_two_keys_differ(mocker: MockerFixture) -> None:
    assert minted("acme_corp", mocker)[0] != minted("acme_corp", mocker)[0]


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "acme_corp",
        "acme_corp_api_",
        f"acme_corp_api_{RANDOM}",
        f"acme_corp_api_{RANDOM}00000000",
        f"acme_corp_api_{RANDOM}0000000é",
        f"Acme_api_{RANDOM}00000000",
        "x" * 10_000,
        "' OR '1'='1",
    ],
)
def test_forged_key_is_refused_without_a_query(secret: str, store: object) -> None:
    with pytest.raises(UnauthenticatedError):
        api_keys.verify(secret)

    store.assert_not_called()  # type: ignore[attr-defined]


def test_checksum_holds_for_one_tenant_only(mocker: MockerFixture, store: object) -> None:
    secret, _ = minted("acme_corp", mocker)
    stolen = secret.replace("acme_corp", "zenith_inc")

    with pytest.raises(UnauthenticatedError):
        api_keys.verify(stolen)

    store.assert_not_called()  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", ["\n", " ", "\r\n", "0"])
def test_nothing_may_follow_a_key(suffix: str, mocker: MockerFixture, store: object) -> None:
    secret, _ = minted("acme_corp", mocker)

    with pytest.raises(UnauthenticatedError):
        api_keys.verify(secret + suffix)

    store.assert_not_called()  # type: ignore[attr-defined]


def test_unknown_key_with_a_good_checksum_is_refused_with_the_same_text(
    mocker: MockerFixture, store: object
) -> None:
    secret, _ = minted("acme_corp", mocker)

    with pytest.raises(UnauthenticatedError) as unknown:
        api_keys.verify(secret)
    with pytest.raises(UnauthenticatedError) as forged:
        api_keys.verify("acme_corp_api_forged")

    store.assert_called_once()  # type: ignore[attr-defined]
    assert str(unknown.value) == str(forged.value)


def test_tenant_whose_name_contains_the_separator_keeps_its_keys(mocker: MockerFixture) -> None:
    secret, row = minted("acme_api_corp", mocker)
    stored = {name: row[name] for name in ("api_key_id", "tenant_id", "key_hash", "is_active")}
    mocker.patch.object(api_keys, "_find", return_value=api_keys.ApiKey.model_validate(stored))

    assert api_keys.verify(secret).tenant_id == "acme_api_corp"
