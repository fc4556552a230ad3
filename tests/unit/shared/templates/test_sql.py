"""Where a placeholder stands in SQL decides whether it is bound, checked as a name, or refused."""

import pytest

from shared.templates import value_types
from shared.templates.placeholders import split
from shared.templates.sql import Name, cut

KINDS = {
    "d": value_types.DATE,
    "n": value_types.INTEGER,
    "s": value_types.STRING,
    "t": value_types.TABLE,
    "l": value_types.list_of(value_types.STRING),
}


def outcome(sql):
    """The statement with names as <name>, or what is wrong with it."""
    problems = []
    result = cut(split(sql), KINDS.get, lambda token, _, message: problems.append((token, message)))
    if result is None:
        return problems[0][1]
    assert not problems
    return "".join(
        piece
        if isinstance(piece, str)
        else "<"
        + "".join(part if isinstance(part, str) else part.token for part in piece.parts)
        + ">"
        for piece in result.pieces
    )


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT '{s}'", "SELECT @s"),
        ('SELECT "{s}"', "SELECT @s"),
        ("SELECT '''{s}''', \"\"\"{s}\"\"\", r'{s}', R\"{s}\"", "SELECT @s, @s, @s, @s"),
        ("SELECT {s}, ({n})+{n}", "SELECT @s, (@n)+@n"),
        ("WHERE a={n} AND b>-{n} LIMIT {n}", "WHERE a=@n AND b>-@n LIMIT @n"),
        (
            "x BETWEEN '{d}' AND DATE_ADD('{d}', INTERVAL {n} DAY)",
            "x BETWEEN @d AND DATE_ADD(@d, INTERVAL @n DAY)",
        ),
        ("a IN UNNEST({l})", "a IN UNNEST(@l)"),
        ("a IN ({s}, {n})", "a IN (@s, @n)"),
        ("{n}", "the SQL itself may not come from a variable; write the statement here"),
        # a literal of a type takes no parameter
        ("SELECT DATE '{d}', timestamp\n'{s}'", "SELECT CAST(@d AS DATE), CAST(@s AS timestamp)"),
        ("SELECT DATE /* DATE */ '{d}'", "SELECT CAST( /* DATE */ @d AS DATE)"),
        ("SELECT DATE -- DATE\n '{d}'", "SELECT CAST( -- DATE\n @d AS DATE)"),
        ("SELECT my_date '{d}'", "SELECT my_date @d"),
        # names
        ("SELECT 1 FROM `{t}`", "SELECT 1 FROM <{t}>"),
        ("SELECT `{s}` FROM `p.d.{t}`", "SELECT <{s}> FROM <p.d.{t}>"),
        ("SELECT 1 FROM {t} WHERE x", "SELECT 1 FROM <{t}> WHERE x"),
        ("SELECT 1 from\n -- which?\n {t}", "SELECT 1 from\n -- which?\n <{t}>"),
        ("SELECT (SELECT 1 FROM {t})", "SELECT (SELECT 1 FROM <{t}>)"),
        ("FROM a JOIN {t} ON 1=1", "FROM a JOIN <{t}> ON 1=1"),
        # FROM that names no table
        ("SELECT EXTRACT(YEAR FROM {d})", "SELECT EXTRACT(YEAR FROM @d)"),
        (
            "SELECT EXTRACT(YEAR FROM (SELECT MAX(x) FROM {t}))",
            "SELECT EXTRACT(YEAR FROM (SELECT MAX(x) FROM <{t}>))",
        ),
        ("WHERE a IS NOT DISTINCT FROM {s}", "WHERE a IS NOT DISTINCT FROM @s"),
        # what only looks like a string, a comment or a name
        ("SELECT 'it''s', 'a\\'{{x}}', {s}", "SELECT 'it''s', 'a\\'{x}', @s"),
        ("SELECT r'\\'' , {s}", "SELECT r'\\'' , @s"),
        ("SELECT '--', \"/*\", `#`, {s}", "SELECT '--', \"/*\", `#`, @s"),
        ("SELECT '''a'b''c''', {s}", "SELECT '''a'b''c''', @s"),
        ("SELECT 1 -- it's\n, {s}", "SELECT 1 -- it's\n, @s"),
        ("SELECT 1 # it's\n, {s}", "SELECT 1 # it's\n, @s"),
        ("SELECT 1 /* it's ` \" */, {s}", "SELECT 1 /* it's ` \" */, @s"),
        ("SELECT 4/2, 4 - -2, {s}", "SELECT 4/2, 4 - -2, @s"),
        ('SELECT JSON \'{"a": {"b": 1}}\', {s}', 'SELECT JSON \'{"a": {"b": 1}}\', @s'),
        (
            "REGEXP_CONTAINS(x, r'^\\d{4}$') AND y = {s}",
            "REGEXP_CONTAINS(x, r'^\\d{4}$') AND y = @s",
        ),
    ],
)
def test_placeholder_becomes_a_parameter_or_a_name(sql, expected):
    assert outcome(sql) == expected


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("SELECT '%{s}%'", "CONCAT('%', '{s}', '%')"),
        ("SELECT '{s}{n}'", "CONCAT('{s}', '{n}')"),
        ("SELECT '''\n{s}'''", "only a part of a string"),
        ("SELECT ' {s}'", "only a part of a string"),
        ("SELECT '\\'{s}'", "only a part of a string"),
        ("SELECT b'{s}'", "bytes literal"),
        ("SELECT rb'{s}', Br'{s}'", "bytes literal"),
        ("SELECT 1 -- {s}", "in a comment"),
        ("SELECT 1 # {s}", "in a comment"),
        ("SELECT 1 /* \n {s} */", "in a comment"),
        ("SELECT col_{s}", "touches other text"),
        ("SELECT {s}_col", "touches other text"),
        ("SELECT {s}{n}", "touches other text"),
        ("SELECT t.{s}", "touches other text"),
        ("SELECT {s}.x", "touches other text"),
        ("SELECT {s}(1)", "touches other text"),
        ("SELECT 'a'{s}", "touches other text"),
        ("SELECT {s}'a'", "touches other text"),
        ("SELECT `a`{s}", "touches other text"),
        ("SELECT @{s}", "touches other text"),
        ("SELECT 1{s}", "touches other text"),
        ("SELECT é{s}", "touches other text"),
        ("SELECT 1 FROM p.{t}", "touches other text"),
        ("SELECT 1 FROM {t}.x", "touches other text"),
        ("SELECT 1 FROM {t}{s}", "touches other text"),
        ("SELECT 1 FROM `{l}`", "cannot name a table"),
        ("SELECT 1 FROM `{steps.a.b}`", "cannot name a table"),
        ("SELECT 1 FROM {steps.a.b}", "cannot name a table"),
        ("SELECT 1 FROM `a\\`{t}`", "backslash"),
        ("a IN ({l})", "IN UNNEST({l})"),
        ("a IN {l}", "IN UNNEST({l})"),
        ("a = '{l}'", "without quotes"),
        ("SELECT 'abc\n' {s}", "never ends on its line"),
        ("SELECT '''abc' {s}", "never ends"),
        ("SELECT `abc {s}", "never ends"),
        ("SELECT /* {s}", "never ends"),
        ("SELECT \ue000, {s}", "U+E000"),
    ],
)
def test_placeholder_anywhere_else_is_refused_with_what_to_write(sql, part):
    assert part in outcome(sql)


def test_names_keep_the_text_around_their_placeholders():
    result = cut(split("SELECT 1 FROM `p.{s}.x_{n}`"), KINDS.get, lambda *_: None)
    (name,) = [piece for piece in result.pieces if isinstance(piece, Name)]
    assert [part if isinstance(part, str) else part.name for part in name.parts] == [
        "p.",
        "s",
        ".x_",
        "n",
    ]


def test_one_parameter_per_variable_however_often_it_is_used():
    result = cut(split("SELECT {s}, '{s}', {n}, {s}"), KINDS.get, lambda *_: None)
    assert [placeholder.name for placeholder in result.bound] == ["s", "n"]
