import pytest

from infra.local.pubsub.errors import RequestError
from infra.local.pubsub.filters import compiled

MESSAGE = {"kind": "cost", "region": "eu-west1", "a-b": "1", "two words": "x", "empty": ""}


@pytest.mark.parametrize(
    ("expression", "passes"),
    [
        ("", True),
        ('attributes.kind = "cost"', True),
        ('attributes.kind="cost"', True),
        ('attributes.kind = "COST"', False),
        ('attributes.missing = ""', False),
        ('attributes.empty = ""', True),
        ('attributes.kind != "cost"', False),
        ('attributes.missing != "cost"', True),
        ("attributes:kind", True),
        ("attributes:missing", False),
        ('attributes:"two words"', True),
        ('attributes."two words" = "x"', True),
        ('attributes.a-b = "1"', True),
        ('hasPrefix(attributes.region, "eu-")', True),
        ('hasPrefix(attributes.region, "us-")', False),
        ('hasPrefix(attributes.missing, "")', False),
        ('NOT attributes.kind = "cost"', False),
        ("NOT NOT attributes:kind", True),
        ('-attributes.kind = "run"', True),
        ("attributes:kind AND attributes:region AND NOT attributes:missing", True),
        ("attributes:missing OR attributes:gone OR attributes:kind", True),
        ("(attributes:missing OR attributes:kind) AND attributes:region", True),
        ("NOT (attributes:missing OR attributes:kind)", False),
        (r'attributes.kind != "a \"quoted\" word"', True),
        ('attributes.AND = "x"', False),
    ],
)
def test_a_filter_decides_by_attributes(expression, passes):
    assert compiled(expression)(MESSAGE) is passes


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ('kind = "cost"', "position 0: expected attributes"),
        ("attributes.kind = cost", "position 18: expected a string in double quotes"),
        ("attributes.kind", "position 15: expected !="),
        ('attributes.kind = "cost" AND', "position 28: expected attributes"),
        ('attributes.kind > "cost"', "position 16: unexpected character"),
        ("attributes:a AND attributes:b OR attributes:c", "AND and OR need parentheses"),
        ("(attributes:a", r"position 13: expected \)"),
        ("attributes:a attributes:b", "expected AND, OR or the end"),
        ("attributes:", "the expression ends too early"),
        ("attributes:=", "expected an attribute key"),
        ("hasPrefix(attributes.a)", "expected ,"),
        ("attributes:" + "k" * 250, "too long: 261 bytes, at most 256"),
    ],
)
def test_a_filter_outside_of_the_language_names_the_place(expression, problem):
    with pytest.raises(RequestError, match=problem):
        compiled(expression)
