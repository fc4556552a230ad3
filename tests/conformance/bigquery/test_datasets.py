"""Datasets through Google's client."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from google.api_core import exceptions
from google.cloud import bigquery

Fresh = Callable[[str], str]


def test_created_dataset_comes_back_with_its_properties(
    client: bigquery.Client, fresh: Fresh
) -> None:
    dataset = bigquery.Dataset(f"{client.project}.{fresh('ds')}")
    dataset.location = "EU"
    dataset.labels = {"team": "cost", "empty": ""}
    dataset.description = "Costs"
    dataset.friendly_name = "Friendly"
    dataset.default_table_expiration_ms = 7_200_000
    client.create_dataset(dataset)

    found = client.get_dataset(dataset.reference)

    assert found.location == "EU"
    assert found.labels == {"team": "cost", "empty": ""}
    assert (found.description, found.friendly_name) == ("Costs", "Friendly")
    assert found.default_table_expiration_ms == 7_200_000
    assert found.full_dataset_id == f"{client.project}:{dataset.dataset_id}"
    assert found.created is not None
    assert found.etag


def test_location_is_us_unless_given(client: bigquery.Client, dataset: str) -> None:
    assert client.get_dataset(dataset).location == "US"


def test_second_creation_conflicts(client: bigquery.Client, dataset: str) -> None:
    with pytest.raises(exceptions.Conflict) as refused:
        client.create_dataset(dataset)
    assert refused.value.message.endswith(f"Already Exists: Dataset {dataset.replace('.', ':')}")
    assert refused.value.errors[0]["reason"] == "duplicate"
    assert client.create_dataset(dataset, exists_ok=True).dataset_id == dataset.split(".")[1]


def test_missing_dataset_is_not_found(client: bigquery.Client, fresh: Fresh) -> None:
    name = fresh("absent")
    with pytest.raises(exceptions.NotFound) as refused:
        client.get_dataset(name)
    assert refused.value.message.endswith(f"Not found: Dataset {client.project}:{name}")
    with pytest.raises(exceptions.NotFound):
        client.delete_dataset(name)
    client.delete_dataset(name, not_found_ok=True)


@pytest.mark.parametrize("name", ["with-dash", "with.dot", "with space", "ü", "a" * 1025])
def test_names_that_bigquery_refuses(client: bigquery.Client, name: str) -> None:
    reference = bigquery.DatasetReference(client.project, name)
    with pytest.raises(exceptions.BadRequest, match="Dataset IDs must be alphanumeric"):
        client.create_dataset(bigquery.Dataset(reference))


def test_names_are_case_sensitive(client: bigquery.Client, fresh: Fresh) -> None:
    name = fresh("case")
    client.create_dataset(name)
    client.create_dataset(name.upper())
    assert client.get_dataset(name.upper()).dataset_id == name.upper()


def test_update_changes_only_the_named_fields(client: bigquery.Client, dataset: str) -> None:
    found = client.get_dataset(dataset)
    found.labels = {"a": "1", "b": "2"}
    found.description = "first"
    found = client.update_dataset(found, ["labels", "description"])
    found.labels = {"a": "1", "b": None}
    found.description = "not sent"
    client.update_dataset(found, ["labels"])

    again = client.get_dataset(dataset)

    assert again.labels == {"a": "1"}
    assert again.description == "first"


def test_update_of_a_changed_dataset_fails(client: bigquery.Client, dataset: str) -> None:
    stale = client.get_dataset(dataset)
    fresh_copy = client.get_dataset(dataset)
    fresh_copy.description = "mine"
    client.update_dataset(fresh_copy, ["description"])
    stale.description = "theirs"
    with pytest.raises(exceptions.PreconditionFailed):
        client.update_dataset(stale, ["description"])
    assert client.get_dataset(dataset).description == "mine"


@pytest.mark.parametrize(
    "labels", [{"Upper": "x"}, {"1digit": "x"}, {"a": "Upper"}, {"k" * 64: "x"}, {"a": "v" * 64}]
)
def test_labels_that_bigquery_refuses(
    client: bigquery.Client, dataset: str, labels: dict[str, str]
) -> None:
    found = client.get_dataset(dataset)
    found.labels = labels
    with pytest.raises(exceptions.BadRequest, match="Label"):
        client.update_dataset(found, ["labels"])


def test_too_short_expiration_is_refused(client: bigquery.Client, fresh: Fresh) -> None:
    dataset = bigquery.Dataset(f"{client.project}.{fresh('ds')}")
    dataset.default_table_expiration_ms = 1000
    with pytest.raises(exceptions.BadRequest, match="defaultTableExpirationMs"):
        client.create_dataset(dataset)


def test_list_pages_filters_and_hides(client: bigquery.Client, fresh: Fresh) -> None:
    marker = fresh("mark")
    names = sorted(f"{fresh('list')}_{index}" for index in range(5))
    for index, name in enumerate([*names, f"_{names[0]}"]):
        dataset = bigquery.Dataset(f"{client.project}.{name}")
        dataset.labels = {"mark": marker, "even": str(index % 2 == 0).lower()}
        client.create_dataset(dataset)

    def listed(condition: str, **options: object) -> list[str]:
        return [item.dataset_id for item in client.list_datasets(filter=condition, **options)]

    assert listed(f"labels.mark:{marker}", page_size=2) == names
    assert listed(f"labels.mark:{marker} labels.even:true") == names[0::2]
    assert listed(f"labels.mark:{marker} labels.other") == []
    assert listed(f"labels.mark:{marker}", include_all=True) == [f"_{names[0]}", *names]
    assert listed(f"labels.mark:{marker}", max_results=3) == names[:3]
    pages = list(client.list_datasets(filter=f"labels.mark:{marker}", page_size=2).pages)
    assert [page.num_items for page in pages] == [2, 2, 1]


def test_list_of_an_unknown_project_is_empty(client: bigquery.Client, fresh: Fresh) -> None:
    assert list(client.list_datasets(project=fresh("p").replace("_", "-"))) == []


def test_delete_refuses_while_tables_are_in_it(client: bigquery.Client, dataset: str) -> None:
    client.create_table(bigquery.Table(f"{dataset}.t", [bigquery.SchemaField("x", "INT64")]))
    with pytest.raises(exceptions.BadRequest) as refused:
        client.delete_dataset(dataset)
    assert refused.value.message.endswith(f"Dataset {dataset.replace('.', ':')} is still in use")
    assert refused.value.errors[0]["reason"] == "resourceInUse"

    client.delete_dataset(dataset, delete_contents=True)

    with pytest.raises(exceptions.NotFound):
        client.get_dataset(dataset)
    client.create_dataset(dataset)
    assert list(client.list_tables(dataset)) == []


def test_new_tables_expire_after_the_datasets_default(
    client: bigquery.Client, dataset: str
) -> None:
    found = client.get_dataset(dataset)
    found.default_table_expiration_ms = 3_600_000
    client.update_dataset(found, ["default_table_expiration_ms"])
    table = client.create_table(
        bigquery.Table(f"{dataset}.t", [bigquery.SchemaField("x", "INT64")])
    )
    assert table.expires is not None
    assert (table.expires - table.created).total_seconds() == 3600


def test_concurrent_patches_all_count(
    http: httpx.Client, client: bigquery.Client, dataset: str
) -> None:
    project, name = dataset.split(".")
    path = f"/bigquery/v2/projects/{project}/datasets/{name}"

    def patch(number: int) -> int:
        return http.patch(path, json={"labels": {f"k{number}": "v"}}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(patch, range(24))) == {200}
    assert len(client.get_dataset(dataset).labels) == 24


def test_put_replaces_what_is_not_sent(
    http: httpx.Client, client: bigquery.Client, dataset: str
) -> None:
    found = client.get_dataset(dataset)
    found.description = "gone after PUT"
    client.update_dataset(found, ["description"])
    project, name = dataset.split(".")
    path = f"/bigquery/v2/projects/{project}/datasets/{name}"
    answer = http.put(path, json={"labels": {"kept": "yes"}})
    assert answer.status_code == 200
    again = client.get_dataset(dataset)
    assert (again.description, again.labels) == (None, {"kept": "yes"})


def test_projects_are_those_that_have_datasets(client: bigquery.Client, dataset: str) -> None:
    assert dataset.split(".", maxsplit=1)[0] in [
        project.project_id for project in client.list_projects()
    ]
