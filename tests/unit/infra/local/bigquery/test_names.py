from infra.local.bigquery.names import check_labels, split_decorator


def test_decorator_is_split_off() -> None:
    assert split_decorator("t$20251115") == ("t", "20251115")
    assert split_decorator("t") == ("t", None)


def test_labels_of_other_scripts_are_taken() -> None:
    assert check_labels({"größe": "größe", "名": ""}) == {"größe": "größe", "名": ""}
