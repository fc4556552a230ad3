import pytest

from shared.templates.placeholders import Placeholder, split


def shown(text):
    """Literal text as it is, placeholders as <name>."""
    return "".join(part if isinstance(part, str) else f"<{part.name}>" for part in split(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{tenant_id}", "<tenant_id>"),
        ("a {b} c {_d1} e", "a <b> c <_d1> e"),
        ("{a}{b}", "<a><b>"),
        ("{steps.extract.rows_processed}", "<steps.extract.rows_processed>"),
        ("{{name}}", "{name}"),
        ("{{{name}}}", "{<name>}"),
        ("{{ {a} }}", "{ <a> }"),
        (r"\d{4}-\d{1,2}", r"\d{4}-\d{1,2}"),
        ('{"a": {"b": {"c": 1}}}', '{"a": {"b": {"c": 1}}}'),
        ('{"a": "{date}", "b": {"c": "{date}"}}', '{"a": "<date>", "b": {"c": "<date>"}}'),
        ('{{"a": {"b": 1}}}', '{"a": {"b": 1}}'),
        ("{ spaced }", "{ spaced }"),
        ("{}", "{}"),
        ("{a-b} {1a} {a b} {a.b} {ä}", "{a-b} {1a} {a b} {a.b} {ä}"),
        ("open { and {x} close }", "open { and <x> close }"),
        ("}} alone", "}} alone"),
        ("{{ never closed", "{ never closed"),
        ("", ""),
    ],
)
def test_only_names_in_braces_are_placeholders(text, expected):
    assert shown(text) == expected


def test_equal_placeholders_are_counted():
    assert split("{a} {b} {a}") == [
        Placeholder("a", 0),
        " ",
        Placeholder("b", 0),
        " ",
        Placeholder("a", 1),
    ]


def test_malformed_step_references_count_as_placeholders_so_that_they_are_reported():
    assert shown("{steps.a} {step.a.rows} {steps.}") == "<steps.a> <step.a.rows> <steps.>"
