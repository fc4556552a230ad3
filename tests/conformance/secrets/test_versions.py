from collections.abc import Callable

import google_crc32c
import pytest
from google.api_core.exceptions import FailedPrecondition, InvalidArgument, NotFound
from google.cloud import secretmanager_v1

Client = secretmanager_v1.SecretManagerServiceClient
State = secretmanager_v1.SecretVersion.State


def add(secrets: Client, secret: str, data: bytes) -> str:
    return secrets.add_secret_version(parent=secret, payload={"data": data}).name


def value(secrets: Client, secret: str, version: str = "latest") -> bytes:
    return secrets.access_secret_version(name=f"{secret}/versions/{version}").payload.data


def test_latest_is_the_version_added_last(secrets: Client, secret: str) -> None:
    assert add(secrets, secret, b"first") == f"{secret}/versions/1"
    assert add(secrets, secret, b"second") == f"{secret}/versions/2"
    answer = secrets.access_secret_version(name=f"{secret}/versions/latest")
    assert answer.name == f"{secret}/versions/2"
    assert answer.payload.data == b"second"
    assert answer.payload.data_crc32c == google_crc32c.value(b"second")
    assert value(secrets, secret, "1") == b"first"


def test_a_new_version_is_enabled_and_says_who_made_the_checksum(
    secrets: Client, secret: str
) -> None:
    made = secrets.add_secret_version(parent=secret, payload={"data": b"x"})
    assert made.state == State.ENABLED
    assert made.etag
    assert "automatic" in made.replication_status
    assert not made.client_specified_payload_checksum
    payload = {"data": b"x", "data_crc32c": google_crc32c.value(b"x")}
    assert secrets.add_secret_version(
        parent=secret, payload=payload
    ).client_specified_payload_checksum


def test_a_wrong_checksum_adds_nothing(secrets: Client, secret: str) -> None:
    with pytest.raises(InvalidArgument, match=r"payload\.data_crc32c did not match"):
        secrets.add_secret_version(parent=secret, payload={"data": b"x", "data_crc32c": 17})
    assert not list(secrets.list_secret_versions(parent=secret))


def test_a_payload_has_1_to_65536_bytes(secrets: Client, secret: str) -> None:
    whole = b"p" * 65536
    add(secrets, secret, whole)
    assert value(secrets, secret) == whole
    with pytest.raises(InvalidArgument, match="65537 bytes long"):
        add(secrets, secret, whole + b"p")
    with pytest.raises(InvalidArgument, match="cannot be empty"):
        add(secrets, secret, b"")


def test_a_secret_without_versions_has_no_latest(secrets: Client, secret: str) -> None:
    with pytest.raises(NotFound) as refused:
        value(secrets, secret)
    assert refused.value.message == f"Secret [{secret}] not found or has no versions."


def test_what_does_not_exist_is_named(secrets: Client, project: str, secret: str) -> None:
    with pytest.raises(NotFound) as refused:
        value(secrets, f"{project}/secrets/none")
    assert refused.value.message == f"Secret [{project}/secrets/none] not found or has no versions."
    add(secrets, secret, b"x")
    for version in ("7", "no-such-alias"):
        name = f"{secret}/versions/{version}"
        with pytest.raises(NotFound) as refused:
            secrets.get_secret_version(name=name)
        assert refused.value.message == f"Secret Version [{name}] not found."
    with pytest.raises(NotFound):
        add(secrets, f"{project}/secrets/none", b"x")


def test_a_disabled_version_is_not_given_out_until_it_is_enabled(
    secrets: Client, secret: str
) -> None:
    name = add(secrets, secret, b"x")
    assert secrets.disable_secret_version(name=name).state == State.DISABLED
    for version in ("latest", "1"):
        with pytest.raises(FailedPrecondition) as refused:
            value(secrets, secret, version)
        assert refused.value.message == f"Secret Version [{name}] is in DISABLED state."
    assert secrets.enable_secret_version(name=name).state == State.ENABLED
    assert value(secrets, secret) == b"x"


def test_a_destroyed_version_is_gone_for_good(secrets: Client, secret: str) -> None:
    add(secrets, secret, b"first")
    name = add(secrets, secret, b"second")
    destroyed = secrets.destroy_secret_version(name=name)
    assert destroyed.state == State.DESTROYED
    assert destroyed.destroy_time
    for call in (secrets.enable_secret_version, secrets.access_secret_version):
        with pytest.raises(FailedPrecondition, match=r"is in DESTROYED state"):
            call(name=name)
    # Not the latest enabled one: the latest one.
    with pytest.raises(FailedPrecondition, match=r"versions/2\] is in DESTROYED state"):
        value(secrets, secret)
    assert add(secrets, secret, b"third") == f"{secret}/versions/3"


def test_versions_are_listed_newest_first_in_pages(secrets: Client, secret: str) -> None:
    names = [add(secrets, secret, b"x") for _ in range(5)]
    pager = secrets.list_secret_versions(request={"parent": secret, "page_size": 2})
    pages = [[version.name for version in page.versions] for page in pager.pages]
    newest_first = names[::-1]
    assert pages == [newest_first[:2], newest_first[2:4], newest_first[4:]]

    secrets.disable_secret_version(name=names[0])
    disabled = secrets.list_secret_versions(request={"parent": secret, "filter": "state:DISABLED"})
    assert [version.name for version in disabled] == [names[0]]


def test_an_alias_reaches_its_version(secrets: Client, secret: str) -> None:
    add(secrets, secret, b"first")
    add(secrets, secret, b"second")
    mask = {"paths": ["version_aliases"]}
    secrets.update_secret(
        secret={"name": secret, "version_aliases": {"stable": 1}}, update_mask=mask
    )
    assert value(secrets, secret, "stable") == b"first"
    found = secrets.get_secret_version(name=f"{secret}/versions/stable")
    assert found.name == f"{secret}/versions/1"
    for aliases, reason in (
        ({"latest": 1}, "not a valid alias"),
        ({"9lives": 1}, "not a valid alias"),
        ({"next": 3}, "version 3, which does not exist"),
    ):
        with pytest.raises(InvalidArgument, match=reason):
            secrets.update_secret(
                secret={"name": secret, "version_aliases": aliases}, update_mask=mask
            )


def test_a_version_changes_under_its_etag_only(secrets: Client, secret: str) -> None:
    name = add(secrets, secret, b"x")
    stale = secrets.get_secret_version(name=name).etag
    secrets.disable_secret_version(request={"name": name, "etag": stale})
    with pytest.raises(FailedPrecondition, match="etag"):
        secrets.enable_secret_version(request={"name": name, "etag": stale})


def test_values_outlive_a_restart(on_disk: Callable[[], Client]) -> None:
    first = on_disk()
    secret = first.create_secret(
        parent="projects/p", secret_id="s", secret={"replication": {"automatic": {}}}
    ).name
    add(first, secret, b"kept")
    second = on_disk()
    assert value(second, secret) == b"kept"
    assert add(second, secret, b"new") == f"{secret}/versions/2"
