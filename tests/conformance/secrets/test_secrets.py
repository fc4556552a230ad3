from pathlib import Path

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from google.cloud import secretmanager_v1

from infra.local.secrets.server import start
from infra.local.service import StartupError

Client = secretmanager_v1.SecretManagerServiceClient
AUTOMATIC = {"replication": {"automatic": {}}}


def test_a_secret_is_found_as_it_was_made(secrets: Client, project: str) -> None:
    made = secrets.create_secret(
        parent=project,
        secret_id="s",
        secret={**AUTOMATIC, "labels": {"team": "data"}, "annotations": {"note": "A b"}},
    )
    found = secrets.get_secret(name=f"{project}/secrets/s")
    assert found == made
    assert dict(found.labels) == {"team": "data"}
    assert found.etag
    assert "automatic" in found.replication


def test_replication_is_required(secrets: Client, project: str) -> None:
    with pytest.raises(InvalidArgument, match="replication"):
        secrets.create_secret(parent=project, secret_id="s", secret={})


def test_user_managed_replication_is_kept(secrets: Client, project: str) -> None:
    replicas = {"replicas": [{"location": "europe-west1"}]}
    made = secrets.create_secret(
        parent=project, secret_id="s", secret={"replication": {"user_managed": replicas}}
    )
    version = secrets.add_secret_version(parent=made.name, payload={"data": b"x"})
    statuses = version.replication_status.user_managed.replicas
    assert [status.location for status in statuses] == ["europe-west1"]


@pytest.mark.parametrize("name", ["", "with space", "ä", "x" * 256, "a/b"])
def test_malformed_names_are_refused(secrets: Client, project: str, name: str) -> None:
    with pytest.raises(InvalidArgument):
        secrets.create_secret(parent=project, secret_id=name, secret=AUTOMATIC)


@pytest.mark.parametrize("labels", [{"Upper": "x"}, {"k": "With Space"}, {"1": "x"}])
def test_malformed_labels_are_refused(
    secrets: Client, project: str, labels: dict[str, str]
) -> None:
    with pytest.raises(InvalidArgument, match="Label"):
        secrets.create_secret(parent=project, secret_id="s", secret={**AUTOMATIC, "labels": labels})


def test_an_existing_secret_is_refused(secrets: Client, project: str, secret: str) -> None:
    with pytest.raises(AlreadyExists) as refused:
        secrets.create_secret(parent=project, secret_id="smtp-password", secret=AUTOMATIC)
    assert refused.value.message == f"Secret [{secret}] already exists."


def test_a_secret_that_does_not_exist_is_named(secrets: Client, project: str) -> None:
    name = f"{project}/secrets/none"
    for call in (secrets.get_secret, secrets.delete_secret):
        with pytest.raises(NotFound) as refused:
            call(name=name)
        assert refused.value.message == f"Secret [{name}] not found."


def test_secrets_are_listed_per_project_newest_first(secrets: Client, project: str) -> None:
    names = [
        secrets.create_secret(parent=project, secret_id=f"s{i}", secret=AUTOMATIC).name
        for i in range(3)
    ]
    pager = secrets.list_secrets(request={"parent": project, "page_size": 2})
    assert [secret.name for secret in pager] == names[::-1]


def test_an_update_changes_what_the_mask_names(secrets: Client, secret: str) -> None:
    changed = secrets.update_secret(
        secret={"name": secret, "labels": {"a": "b"}, "annotations": {"c": "d"}},
        update_mask={"paths": ["labels"]},
    )
    assert dict(changed.labels) == {"a": "b"}
    assert not changed.annotations
    with pytest.raises(InvalidArgument, match="update_mask must name"):
        secrets.update_secret(secret={"name": secret}, update_mask={"paths": ["replication"]})


def test_an_update_under_an_old_etag_is_refused(secrets: Client, secret: str) -> None:
    old = secrets.get_secret(name=secret).etag
    mask = {"paths": ["labels"]}
    secrets.update_secret(
        secret={"name": secret, "labels": {"a": "1"}, "etag": old}, update_mask=mask
    )
    with pytest.raises(FailedPrecondition, match="etag"):
        secrets.update_secret(
            secret={"name": secret, "labels": {"a": "2"}, "etag": old}, update_mask=mask
        )
    assert dict(secrets.get_secret(name=secret).labels) == {"a": "1"}


def test_a_deleted_secret_takes_its_versions_with_it(
    secrets: Client, project: str, secret: str
) -> None:
    secrets.add_secret_version(parent=secret, payload={"data": b"old"})
    secrets.delete_secret(name=secret)
    with pytest.raises(NotFound):
        secrets.access_secret_version(name=f"{secret}/versions/1")
    secrets.create_secret(parent=project, secret_id="smtp-password", secret=AUTOMATIC)
    assert not list(secrets.list_secret_versions(parent=secret))


def test_what_the_local_server_cannot_do_is_refused(secrets: Client, project: str) -> None:
    with pytest.raises(InvalidArgument, match="ttl is not supported"):
        secrets.create_secret(
            parent=project, secret_id="s", secret={**AUTOMATIC, "ttl": {"seconds": 60}}
        )


def test_a_corrupt_state_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StartupError, match=r"records\.sqlite cannot be used .*delete it"):
        start(host="127.0.0.1", port=0, state=tmp_path)
