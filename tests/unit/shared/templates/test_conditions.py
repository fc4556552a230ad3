import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.templates.conditions import ConditionError, evaluate, parse

VALUES = {"n": 5, "f": 0.5, "s": "abc", "t": True, "none": None, "steps.a.rows_processed": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{n} > 4", True),
        ("{n}>=5", True),
        ("{n} < -1", False),
        ("{f} <= 0.5", True),
        ("{s} == 'abc'", True),
        ('{s} != "abc"', False),
        ("{s} < 'b'", True),
        ("{t}", True),
        ("not {t}", False),
        ("not not {t}", True),
        ("{none} == null", True),
        ("{n} == null", False),
        ("{n} == '5'", False),
        ("{n} != '5'", True),
        ("{t} == 1", False),
        ("true or false and false", True),
        ("(true or false) and false", False),
        ("not false and true", True),
        ("{steps.a.rows_processed} > 0", True),
        ("'{s}' == 'abc'", True),
        ("'and' == 'or'", False),
    ],
)
def test_condition_holds_or_not(text, expected):
    assert evaluate(parse(text), VALUES.__getitem__) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a {variable}, a number or a 'text' before 'the end'"),
        ("{n} >", "before 'the end'"),
        ("{n} = 5", "cannot read '= 5'"),
        ("{n} > 5 > 4", "expected and, or, or the end before '>'"),
        ("({n} > 5", "expected )"),
        ("{n} > 5)", "expected and, or, or the end before ')'"),
        ("n > 5", "expected a {variable}"),
        ("{n} and", "before 'the end'"),
        ("{n} > 5x", "cannot read"),
        ("'a {s}' == 'b'", "mixes text and a variable"),
        ("'open", "cannot read"),
        ("__import__('os')", "expected a {variable}"),
        ("not " * 30 + "true", "nested deeper than 20"),
        ("(" * 30 + "true" + ")" * 30, "nested deeper than 20"),
    ],
)
def test_what_is_not_of_the_grammar_says_what_was_expected(text, message):
    with pytest.raises(ConditionError) as caught:
        parse(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["{n} > '4'", "{t} < false", "{none} > 1", "{n}", "not {s}"])
def test_values_that_cannot_be_compared_are_an_error(text):
    with pytest.raises(ConditionError):
        evaluate(parse(text), VALUES.__getitem__)


@given(st.text(alphabet="{}ns.()'\"<>=! andort05-", max_size=40))
def test_any_text_parses_or_is_refused(text):
    with contextlib.suppress(ConditionError):
        assert parse(text) is not None
