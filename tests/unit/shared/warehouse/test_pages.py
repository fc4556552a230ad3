import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.warehouse.pages import cursor_of, key_of

PRINTABLE = st.text(st.characters(categories=("L", "N", "P")), max_size=40)


@given(st.lists(PRINTABLE, min_size=1, max_size=3))
def test_cursor_gives_its_key_back_and_fits_into_a_url(key: list[str]) -> None:
    cursor = cursor_of(key)

    assert key_of(cursor, len(key)) == key
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "cursor", ["", "x", "e30", "WzFd", "bnVsbA", "é", "W10", "[" * 1000, "WyJhIiwiYiJd" * 3]
)
def test_what_is_no_cursor_of_two_parts_is_refused_by_its_name(cursor: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        key_of(cursor, 2)

    assert [problem.pointer for problem in refused.value.problems] == ["cursor"]


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(cursor: str) -> None:
    try:
        key = key_of(cursor, 1)
    except InvalidInputError:
        return
    assert len(key) == 1


def test_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        key_of(cursor_of(["acme_corp"]), 2)
