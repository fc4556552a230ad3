"""Whatever a variable holds, the statement is the one its author wrote."""

# ruff: noqa: E501, RUF001 - one group of cases a line, look-alikes on purpose

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.processors.contract import Query
from shared.templates import value_types
from shared.templates.document import Scalar
from shared.templates.expressions import Expressions, Scope
from shared.templates.fields import shapes
from shared.templates.loader import TemplateLibrary
from shared.templates.plan import Binder, UnfitNameError
from shared.templates.problems import Problems, Source, TemplateError
from shared.templates.resolver import resolve
from shared.templates.sql_lexer import SqlSyntaxError, tokens
from tests.unit.shared.templates.conftest import make_facts

TEMPLATE = """\
variables:
  place: "us-east1"
  table: "project.dataset.table"
  column: "cost"
  days: 7
  share: 0.5
  active: true
  kinds: ["a", "b"]
  free: {type: string, default: "x"}
sources: ["{table}"]
steps:
  - step_id: "one"
    ps_type: "gcp.bigquery_to_bigquery"
    source:
      query: |
        SELECT `{column}`, '{place}', {place} AS p, "{free}" -- it's a comment
        FROM `{table}` JOIN {table} USING (id)
        WHERE day = '{date}' AND n > {days} AND s < {share} AND a = {active}
          AND kind IN UNNEST({kinds}) AND who = {trigger_by}
    destination:
      table: "costs"
"""
HOSTILE = [
    "' OR '1'='1", '" OR ""="', "x'; DROP TABLE t; --", "`; SELECT 1; `", "a`b", "a b", "*/ x /*",
    "-- x", "# x", "\\", "\\'", "'''", '"""', "a;b", "a\nb", "a\r\nb", "a\u2028b", "a\x00b", "a\x85b",
    "{tenant_id}", "{{tenant_id}}", "@date", "$20251115", "a..b", ".a", "a.", "a.b.c.d.e", "",
    "tаble", "ｔａｂｌｅ", "t＇x", "x‘y’", "t\u200bx", "t\u202ex", "٣", "a.b`.c", "a.b)--", "(SELECT 1)",
    "project.other_tenant.t`", "INFORMATION_SCHEMA.TABLES`", "r'x'", "b'x'", "NULL", "%s", "{0}", "\ue000",
    "UNION ALL SELECT", "a/**/b", "a\tb", "á", "😀", "a'", "`", "'", '"', "x" * 4096, "x" * 4097,
]  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){0,3}", re.ASCII)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    root = tmp_path_factory.mktemp("library") / "configs"
    (root / "gcp" / "cost").mkdir(parents=True)
    (root / "gcp" / "cost" / "x.yml").write_text(TEMPLATE, encoding="utf-8")
    return TemplateLibrary(root).named("gcp/cost/x")


def query_of(compiled, overrides):
    return resolve(compiled, make_facts(), overrides).steps[0].config["source"]["query"]


def shape(sql):
    """The statement's tokens, with each quoted name told only by its kind."""
    return [
        ("quoted", "") if token.kind == "quoted" else (token.kind, token.text)
        for token in tokens(sql)
    ]


def assert_unchanged(compiled, overrides):
    """Refused with the variable named, or the same statement with the value beside it."""
    plain = query_of(compiled, {})
    query, refused = None, set()
    try:
        query = query_of(compiled, overrides)
    except InvalidInputError as error:
        refused = {problem.pointer for problem in error.problems}
    if query is None:
        assert refused
        assert refused <= {f"/{name}" for name in overrides}
        return None
    assert shape(query["sql"]) == shape(plain["sql"])
    for token in tokens(query["sql"]):
        if token.kind == "quoted":
            assert NAME.fullmatch(token.body)
    kinds = [(parameter["name"], parameter["type"]) for parameter in plain["parameters"]]
    assert [(parameter["name"], parameter["type"]) for parameter in query["parameters"]] == kinds
    return query


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["place", "free", "trigger_by"])
def test_hostile_text_is_refused_or_travels_as_a_parameter(compiled, name, value):
    query = assert_unchanged(compiled, {name: value})
    if query is not None:
        values = {parameter["name"]: parameter["value"] for parameter in query["parameters"]}
        assert values[name] == value


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["table", "column"])
def test_hostile_text_never_becomes_a_name(compiled, name, value):
    if NAME.fullmatch(value) and len(value) <= 4096:
        assert f"`{value}`" in assert_unchanged(compiled, {name: value})["sql"]
        return
    with pytest.raises(InvalidInputError) as caught:
        query_of(compiled, {name: value})
    assert [problem.pointer for problem in caught.value.problems] == [f"/{name}"]


@pytest.mark.parametrize("value", [*HOSTILE, 5, None, {"$late": []}, [["a"]], [5], True, 0.5])
@pytest.mark.parametrize("name", ["date", "days", "share", "active", "kinds", "table"])
def test_values_of_another_type_never_pass(compiled, name, value):
    query = assert_unchanged(compiled, {name: value})
    if query is not None:
        passed = {"days": int, "share": int | float, "active": bool, "table": str}[name]
        assert isinstance(value, passed)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["place", "free", "table", "column", "trigger_by"]),
        st.one_of(
            st.text(max_size=30),
            st.text(alphabet="'\"`;-#/*\\ \nabc.{}@$", max_size=20),
            st.sampled_from(HOSTILE),
        ),
    )
)
def test_no_text_changes_the_statement(compiled, overrides):
    assert_unchanged(compiled, overrides)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["place", "table", "days", "share", "active", "kinds", "date", "tenant_id", "zz"]
        ),
        JSON_VALUES,
    )
)
def test_no_json_value_gets_past_its_type(compiled, overrides):
    assert_unchanged(compiled, overrides)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="'\"`;-#/*\\ \nabrRB.@$()1_é", max_size=40))
def test_lexer_loses_nothing(text):
    found = []
    try:
        found.extend(tokens(text))
    except SqlSyntaxError as error:
        text = text[: error.index]
    assert "".join(token.text for token in found) == text[: sum(len(token.text) for token in found)]
    assert sum(len(token.text) for token in found) == len(text)


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="'\"`-#/*\\ \nrbFROM.(),a1", max_size=15),
    st.text(alphabet="'\"`-#/*\\ \nrb.(),a1", max_size=15),
)
def test_wherever_the_placeholder_stands_a_hostile_value_is_never_in_the_text(before, after):
    """A statement around a placeholder loads or not; its value appears beside the text only."""

    text = f"{before}{{x}}{after}"
    problems = Problems()
    kinds = {"x": value_types.STRING}
    node = Scalar(Source("x.yml", text), 0, len(text), text)
    tree = Expressions(Scope(kinds), problems).tree(node, shapes(Query))
    if len(problems):
        return
    make = Binder({}, kinds).bind(tree)
    hostile = "x' \" ` ; -- /* \n y"
    try:
        query = make({"x": hostile})
    except UnfitNameError:
        return
    assert hostile not in query["sql"]
    assert query["parameters"][0]["value"] == hostile


def test_sources_never_follow_an_override(compiled):
    pipeline = resolve(compiled, make_facts(), {"table": "project.other_tenant.secrets"})
    assert pipeline.sources == ("project.dataset.table",)
    assert "`project.other_tenant.secrets`" in pipeline.steps[0].config["source"]["query"]["sql"]


def test_hostile_tenant_facts_cannot_become_a_name(compiled, tmp_path):
    root = tmp_path / "configs"
    (root / "gcp" / "cost").mkdir(parents=True)
    (root / "gcp" / "cost" / "x.yml").write_text(
        TEMPLATE.replace('"project.dataset.table"', '"{company_name}.t"').replace(
            "sources", "# sources"
        ),
        encoding="utf-8",
    )
    other = TemplateLibrary(root)

    with pytest.raises(TemplateError, match="must be a name"):
        other.named("gcp/cost/x")
