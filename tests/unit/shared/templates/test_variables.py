"""Types of variables, and what a request body may put in their place."""

# ruff: noqa: E501 - one case a line

import pytest

from shared.errors import InvalidInputError
from shared.templates.resolver import resolve

HEAD = "variables:\n"
STEP = 'steps:\n  - step_id: "a"\n    ps_type: "sample.anything"\n    value: "{x}"\n'


def problem_of(resolved, variable, value):
    with pytest.raises(InvalidInputError) as caught:
        resolved(f"{HEAD}  x: {variable}\n{STEP}", {"x": value})
    (problem,) = caught.value.problems
    assert problem.pointer == "/x"
    assert repr(problem.value) == repr(value)
    return problem.problem


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ('"text"', "other"),
        ("5", 6),
        ("0.5", 2),
        ("0.5", -1.25),
        ("true", False),
        ("2025-01-01", "2025-02-28"),
        ('"a@example.com"', "b@example.com"),
        ('["a"]', ["b", "c"]),
        ('["a"]', []),
        ("[1, 2]", [3]),
        ("{type: table, default: a.b}", "project-1.data_set.table"),
        ('{type: list, items: date, default: ["2025-01-01"]}', ["2025-02-28"]),
        ('{type: string, default: "a", choices: ["a", "b"]}', "b"),
        ('{type: string, default: "a", pattern: "[a-z]+"}', "bcd"),
        ("{type: integer, required: true}", 9),
    ],
)
def test_override_of_the_right_type_keeps_its_type(resolved, variable, value):
    pipeline = resolved(f"{HEAD}  x: {variable}\n{STEP}", {"x": value})
    assert pipeline.steps[0].config["value"] == value
    assert type(pipeline.steps[0].config["value"]) is type(value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ('"text"', 5, 'must be a string, not 5; for example "text"'),
        ('"text"', None, 'must be a string, not null; for example "text"'),
        ('"text"', {"a": 1}, 'must be a string, not {"a": 1}; for example "text"'),
        ("5", "6", 'must be an integer, not "6"; for example 7'),
        ("5", True, "must be an integer, not true; for example 7"),
        ("5", 5.0, "must be an integer, not 5.0; for example 7"),
        ("5", 2**63, "must be an integer, not 9223372036854775808 (beyond 64 bits); for example 7"),
        ("0.5", float("nan"), "must be a number, not NaN; for example 0.25"),
        ("0.5", float("inf"), "must be a number, not Infinity; for example 0.25"),
        ("0.5", 1e-10, "must be a number, not 1e-10 (more than 29 digits before or 9 after the point); for example 0.25"),
        ("true", "true", 'must be a boolean, not "true"; for example true'),
        ("true", 1, "must be a boolean, not 1; for example true"),
        ("2025-01-01", "2025-02-29", 'must be a date as YYYY-MM-DD, not "2025-02-29" (no such day); for example "2025-11-15"'),
        ("2025-01-01", "20250101", 'must be a date as YYYY-MM-DD, not "20250101"; for example "2025-11-15"'),
        ("2025-01-01", "٢٠٢٥-01-01", 'must be a date as YYYY-MM-DD, not "\\u0662\\u0660\\u0662\\u0665-01-01"; for example "2025-11-15"'),
        ('["a"]', "a", 'must be a list of strings, not "a"; for example ["text"]'),
        ('["a"]', [1], 'must be a list of strings, not [1] (each item must be a string); for example ["text"]'),
        ('["a"]', [["a"]], 'must be a list of strings, not [["a"]] (each item must be a string); for example ["text"]'),
        ("{type: table, default: a.b}", "a b", "letters, digits, _ and - in up to four parts"),
        ('{type: string, default: "daily", choices: ["daily", "full"]}', "ful", 'must be one of "daily", "full", not "ful"; did you mean full?'),
        ('{type: string, default: "a", pattern: "[a-z]+"}', "a1", 'must match [a-z]+, not "a1"'),
        ('{type: string, default: "a", overridable: false}', "b", "is fixed by the template and cannot be overridden"),
        ('"text"', "x" * 4097, "must be at most 4096 bytes long"),
        ('"text"', "é" * 2049, "must be at most 4096 bytes long"),
        ('"text"', "a\nb", "must not contain the character U+000A; remove it"),
        ('"text"', "a\x00b", "must not contain the character U+0000; remove it"),
        ('"text"', "a\u202eb", "must not contain the character U+202E; remove it"),
        ('"text"', "a\u2028b", "must not contain the character U+2028; remove it"),
        ('"text"', "a\ud800b", "must not contain the character U+D800; remove it"),
        ('["a"]', ["a\x07"], "must not contain the character U+0007; remove it"),
        ('["a"]', ["a"] * 1001, "must have at most 1000 items, not 1001"),
    ],
)  # fmt: skip
def test_override_of_another_type_names_what_is_wanted(resolved, variable, value, message):
    assert message in problem_of(resolved, variable, value)


def test_bad_email_is_refused_with_the_reason(resolved):
    message = problem_of(resolved, '"a@example.com"', "nobody")
    assert message.startswith('must be an e-mail address, not "nobody" (')
    assert message.endswith('; for example "finops@example.com"')


def test_printable_text_of_any_script_is_taken(resolved):
    value = "Zürich 東京 👩‍💻 `'\"; -- {tenant_id}"
    assert resolved(f'{HEAD}  x: "a"\n{STEP}', {"x": value}).steps[0].config["value"] == value


def test_all_bad_values_are_reported_at_once(resolved):
    text = f'{HEAD}  x: "a"\n  n: 5\n  needed: {{type: date, required: true}}\n{STEP}'
    with pytest.raises(InvalidInputError) as caught:
        resolved(text, {"x": 1, "n": "a", "tenant_id": "b", "nn": 2, "date": "tomorrow"})
    assert {problem.pointer for problem in caught.value.problems} == {
        "/x", "/n", "/needed", "/tenant_id", "/nn", "/date",
    }  # fmt: skip


def test_unknown_key_is_answered_with_near_names_and_the_names_there_are(resolved):
    text = f'{HEAD}  source_table: "a"\n  x: "b"\n  fixed: {{type: string, default: a, overridable: false}}\n{STEP}'
    with pytest.raises(InvalidInputError) as caught:
        resolved(text, {"sorce_table": "b"})
    assert str(caught.value) == (
        "sorce_table: is not a variable of this template; did you mean source_table? "
        "it takes admin_email, date, source_table, trigger_by, x"
    )


def test_required_variable_is_asked_for_with_its_type(resolved):
    with pytest.raises(InvalidInputError) as caught:
        resolved(f"{HEAD}  x: {{type: date, required: true}}\n{STEP}")
    assert str(caught.value) == 'x: is required: a date as YYYY-MM-DD, for example "2025-11-15"'


def test_variables_refer_to_variables_in_any_order(resolved):
    text = f'{HEAD}  x: "{{b}}-x"\n  b: "{{c}}{{c}}"\n  c: "{{tenant_id}}"\n{STEP}'
    assert resolved(text).steps[0].config["value"] == "acmeacme-x"


def test_override_reaches_the_variables_that_refer_to_it_and_is_not_resolved_again(resolved):
    text = f'{HEAD}  x: "{{b}}-x"\n  b: "{{c}}"\n  c: "d"\n{STEP}'
    assert (
        resolved(text, {"c": "{tenant_id} {b} {{x}}"}).steps[0].config["value"]
        == "{tenant_id} {b} {{x}}-x"
    )


def test_literal_braces_of_a_default_stay_literal_wherever_they_go(resolved):
    text = f'{HEAD}  x: "a {{b}} c"\n  b: "{{{{date}}}}"\n  other: "d"\n{STEP}'
    assert resolved(text).steps[0].config["value"] == "a {date} c"
    assert resolved(text, {"other": "e"}).steps[0].config["value"] == "a {date} c"


def test_types_pass_through_references(resolved):
    text = f'{HEAD}  x: "{{n}}"\n  n: 5\n  l: ["{{n}}", 6]\n  t: "n={{n}} l={{l}} b={{b}} f={{f}}"\n  b: true\n  f: 0.5\n{STEP}'
    assert resolved(text).variables["x"] == 5
    assert resolved(text).variables["t"] == "n=5 l=5, 6 b=true f=0.5"
    changed = resolved(text, {"n": 7, "b": False}).variables
    assert (changed["x"], changed["l"], changed["t"]) == (7, [7, 6], "n=7 l=7, 6 b=false f=0.5")


def test_admin_email_comes_from_body_then_template_then_profile(compiled, facts):
    step = STEP.replace("{x}", "{admin_email}")
    own = compiled(f'{HEAD}  admin_email: "t@example.com"\n{step}')
    assert resolve(own, facts()).steps[0].config["value"] == "t@example.com"
    assert (
        resolve(own, facts(), {"admin_email": "b@example.com"}).steps[0].config["value"]
        == "b@example.com"
    )


def test_admin_email_of_the_profile_is_the_last_resort(compiled, facts):
    plain = compiled(STEP.replace("{x}", "{admin_email}"))
    assert resolve(plain, facts()).steps[0].config["value"] == "admin@acme.example.com"
    assert (
        resolve(plain, facts(), {"admin_email": "b@example.com"}).steps[0].config["value"]
        == "b@example.com"
    )
    with pytest.raises(InvalidInputError, match="admin_email: is required"):
        resolve(plain, facts(admin_email=None))
    with pytest.raises(InvalidInputError, match="admin_email: must be an e-mail address"):
        resolve(plain, facts(), {"admin_email": "b"})


def test_admin_email_may_be_missing_where_nobody_uses_it(compiled, facts):
    assert resolve(compiled(STEP.replace("{x}", "a")), facts(admin_email=None)).steps


def test_parameters_get_the_types_of_their_variables(resolved):
    text = """\
variables:
  s: "a"
  i: 5
  f: 0.1
  whole: {type: number, default: 3}
  b: true
  d: {type: date, default: "{date}"}
  e: "a@example.com"
  ls: ["a"]
  li: [1]
  lf: {type: list, items: number, default: [0.5, 2]}
steps:
  - step_id: "a"
    ps_type: "sample.queries"
    query: "SELECT {s}, {i}, {f}, {whole}, {b}, {d}, {e}, UNNEST({ls}), UNNEST({li}), UNNEST({lf}), {date}"
"""
    parameters = resolved(text).steps[0].config["query"]["parameters"]
    assert [(item["name"], item["type"], item["value"]) for item in parameters] == [
        ("s", "STRING", "a"),
        ("i", "INT64", 5),
        ("f", "NUMERIC", "0.1"),
        ("whole", "NUMERIC", "3"),
        ("b", "BOOL", True),
        ("d", "DATE", "2025-11-15"),
        ("e", "STRING", "a@example.com"),
        ("ls", "ARRAY<STRING>", ["a"]),
        ("li", "ARRAY<INT64>", [1]),
        ("lf", "ARRAY<NUMERIC>", ["0.5", "2"]),
        ("date", "DATE", "2025-11-15"),
    ]
