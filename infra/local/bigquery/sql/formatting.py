"""Text from and to dates (format elements), and FORMAT()."""

import re
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from infra.local.bigquery.sql import casts
from infra.local.bigquery.sql.failures import MARK, invalid
from infra.local.bigquery.sql.operators import no_signature
from infra.local.bigquery.sql.scope import Scope
from infra.local.bigquery.sql.typed import Typed
from infra.local.bigquery.sql.typesystem import (
    BYTES,
    DATE,
    DATETIME,
    STRING,
    TIME,
    TIMESTAMP,
    SqlType,
    text_literal,
)

if TYPE_CHECKING:
    from infra.local.bigquery.sql.translator import Translator

# BigQuery's format elements as DuckDB's; those that are None need an expression of their own
_ELEMENTS: dict[str, str | None] = {
    "%A": "%A", "%a": "%a", "%B": "%B", "%b": "%b", "%h": "%b", "%C": None, "%D": "%m/%d/%y",
    "%d": "%d", "%e": None, "%F": "%Y-%m-%d", "%G": "%G", "%g": None, "%H": "%H", "%I": "%I",
    "%j": "%j", "%k": None, "%l": None, "%M": "%M", "%m": "%m", "%n": "\n", "%P": None,
    "%p": "%p", "%Q": None, "%R": "%H:%M", "%S": "%S", "%s": None, "%T": "%H:%M:%S", "%t": "\t",
    "%U": "%U", "%u": "%u", "%V": "%V", "%W": "%W", "%w": "%w", "%X": "%H:%M:%S",
    "%x": "%m/%d/%y", "%Y": "%Y", "%y": "%y", "%Z": None, "%z": None, "%%": "%%",
    "%c": "%a %b %-d %H:%M:%S %Y", "%r": "%I:%M:%S %p", "%Ez": None, "%E4Y": "%Y", "%J": "%j",
}  # fmt: skip
_EXPRESSIONS = {
    "%C": "lpad(CAST(extract(year FROM {0}) // 100 AS VARCHAR), 2, '0')",
    "%e": "lpad(CAST(extract(day FROM {0}) AS VARCHAR), 2, ' ')",
    "%g": "right(CAST(extract(isoyear FROM {0}) AS VARCHAR), 2)",
    "%k": "lpad(CAST(extract(hour FROM {0}) AS VARCHAR), 2, ' ')",
    "%l": "lpad(CAST((extract(hour FROM {0}) + 11) % 12 + 1 AS VARCHAR), 2, ' ')",
    "%P": "lower(strftime({0}, '%p'))",
    "%Q": "CAST(extract(quarter FROM {0}) AS VARCHAR)",
    "%s": "CAST(epoch_us({0}) // 1000000 AS VARCHAR)",
    "%Z": "'UTC'",
    "%z": "'+0000'",
    "%Ez": "'+00:00'",
}
_ELEMENT = re.compile(r"%E(?:\*S|\d+S|4Y|z)|%.", re.DOTALL)


def pieces(text: str, node: Any) -> list[tuple[str, bool]]:
    """A format as (DuckDB format or element, whether it is an element of its own)."""
    result: list[tuple[str, bool]] = []
    plain = ""
    last = 0
    for match in _ELEMENT.finditer(text):
        plain += text[last : match.start()]
        last = match.end()
        element = match.group()
        mapped = _ELEMENTS.get(element, "")
        if mapped:
            plain += mapped
        elif mapped is None or re.fullmatch(r"%E(\*|\d+)S", element):
            if plain:
                result.append((plain, False))
                plain = ""
            result.append((element, True))
        else:
            raise invalid(f"Unsupported format element {element}", node)
    plain += text[last:]
    if plain:
        result.append((plain, False))
    return result


def _formatter(kind: SqlType) -> Any:
    def render(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
        name = node.name.upper()
        arguments = node.expressions
        if len(arguments) not in ({2, 3} if kind == TIMESTAMP else {2}):
            raise invalid(f"Number of arguments does not match for function {name}", node)
        wanted = tr.coerced(arguments[0], scope, STRING, f"function {name}")
        value = tr.expr(arguments[1], scope)
        if kind == DATE and value.kind in {DATETIME, TIMESTAMP}:
            value = Typed(casts.converted_sql(value.sql, value.kind, DATE) or "", DATE)
        coerced = casts.coerce(tr.context, value, kind)
        if coerced is None:
            raise no_signature(f"function {name}", [wanted, value], node)
        sql = coerced.sql
        if kind == TIMESTAMP:
            zone = (
                tr.coerced(arguments[2], scope, STRING, f"function {name}").sql
                if len(arguments) == 3
                else "'UTC'"
            )
            sql = f"timezone({zone}, {sql})"
        elif kind == TIME:
            sql = f"(DATE '1970-01-01' + {sql})"
        if not isinstance(wanted.literal, str):
            return Typed(f"strftime({sql}, {_runtime(wanted.sql)})", STRING)
        return Typed(format_sql(sql, wanted.literal, node), STRING)

    return render


def _runtime(sql: str) -> str:
    """A format known only at execution, with BigQuery's shorthands written out."""
    for old, new in (("%F", "%Y-%m-%d"), ("%T", "%H:%M:%S"), ("%R", "%H:%M"), ("%D", "%m/%d/%y")):
        sql = f"replace({sql}, '{old}', '{new}')"
    return sql


def format_sql(sql: str, wanted: str, node: Any) -> str:
    """DuckDB text that formats a TIMESTAMP, DATE or DATETIME value."""
    parts = []
    for text, element in pieces(wanted, node):
        if not element:
            parts.append(f"strftime({sql}, {text_literal(text)})")
        elif text.endswith("S") and text.startswith("%E"):
            parts.append(_seconds(sql, text))
        else:
            parts.append(_EXPRESSIONS[text].replace("{0}", sql))
    if not parts:
        return "''"
    return parts[0] if len(parts) == 1 else f"({' || '.join(parts)})"


def _seconds(sql: str, element: str) -> str:
    micros = f"strftime({sql}, '%f')"
    if element == "%E*S":
        return (
            f"(strftime({sql}, '%S') || CASE WHEN {micros} = '000000' THEN ''"
            f" ELSE '.' || rtrim({micros}, '0') END)"
        )
    digits = int(element[2:-1])
    if digits == 0:
        return f"strftime({sql}, '%S')"
    return f"(strftime({sql}, '%S.') || left({micros}, {digits}))"


# --- parsing


def _parser(kind: SqlType) -> Any:
    def parse(tr: "Translator", node: exp.Anonymous, scope: Scope) -> Typed:
        name = node.name.upper()
        arguments = node.expressions
        if len(arguments) not in ({2, 3} if kind == TIMESTAMP else {2}):
            raise invalid(f"Number of arguments does not match for function {name}", node)
        wanted = tr.coerced(arguments[0], scope, STRING, f"function {name}")
        value = tr.coerced(arguments[1], scope, STRING, f"function {name}")
        zone = (
            tr.coerced(arguments[2], scope, STRING, f"function {name}").sql
            if len(arguments) == 3
            else "'UTC'"
        )
        text = wanted.literal
        if not isinstance(text, str):
            moment = f"strptime({value.sql}, {_runtime(wanted.sql)})"
            return Typed(_as_kind(moment, kind, zone, zoned=False), kind)
        return Typed(_parsed(value.sql, text, kind, zone, node), kind)

    return parse


def _parsed(sql: str, wanted: str, kind: SqlType, zone: str, node: Any) -> str:
    if wanted == "%s":
        return _as_kind(f"make_timestamp(bq.s2i({sql}) * 1000000)", kind, "'UTC'", zoned=False)
    parts = []
    for text, element in pieces(wanted, node):
        parts.append(_parse_element(text, node) if element else text)
    mapped = "".join(parts)
    zoned = "%z" in mapped or "%Z" in mapped
    source = sql
    if not re.search(r"%[YyGg]", mapped):
        mapped, source = f"%Y {mapped}", f"('1970 ' || {sql})"
    moment = f"strptime({source}, {text_literal(mapped)})"
    result = _as_kind(moment, kind, zone, zoned=zoned)
    refusal = f"CAST('{MARK}Failed to parse input string \"' || {sql} || '\"' AS BIGINT)"
    attempt = f"try_strptime({source}, {text_literal(mapped)})"
    return (
        f"CASE WHEN {sql} IS NOT NULL AND {attempt} IS NULL"
        f" THEN make_timestamp({refusal})::{_DUCK[kind.kind]} ELSE {result} END"
    )


_DUCK = {"DATE": "DATE", "DATETIME": "TIMESTAMP", "TIME": "TIME", "TIMESTAMP": "TIMESTAMPTZ"}


def _parse_element(element: str, node: Any) -> str:
    if element == "%E*S":
        return "%S.%f"
    match = re.fullmatch(r"%E(\d)S", element)
    if match:
        return "%S.%f"
    known = {"%e": "%d", "%k": "%H", "%l": "%I", "%P": "%p", "%Z": "%Z", "%z": "%z", "%Ez": "%z"}
    if element not in known:
        raise invalid(f"Unsupported format element {element} in a PARSE function", node)
    return known[element]


def _as_kind(moment: str, kind: SqlType, zone: str, *, zoned: bool) -> str:
    if kind == TIMESTAMP:
        return f"CAST({moment} AS TIMESTAMPTZ)" if zoned else f"timezone({zone}, {moment})"
    return f"CAST({moment} AS {_DUCK[kind.kind]})"


# --- CAST ... FORMAT

_CAST_ELEMENTS = (
    ("YYYY", "%Y"), ("HH24", "%H"), ("HH12", "%I"), ("MONTH", "%B"), ("MON", "%b"), ("DAY", "%A"),
    ("DDD", "%j"), ("DY", "%a"), ("MM", "%m"), ("DD", "%d"), ("YY", "%y"), ("HH", "%I"),
    ("MI", "%M"), ("SS", "%S"), ("FF6", "%f"), ("FF3", "%g"), ("AM", "%p"), ("PM", "%p"),
)  # fmt: skip


def cast_format(value: Typed, target: SqlType, text: Any, zone: str | None, node: Any) -> Typed:
    """CAST between text and dates, or BYTES and text, with a format."""
    if not isinstance(text, str):
        raise invalid("The FORMAT of a CAST must be a string literal", node)
    if target == STRING and value.kind == BYTES:
        return Typed(_bytes_text(value.sql, text, node), STRING)
    if target == BYTES and value.kind == STRING:
        return Typed(_text_bytes(value.sql, text, node), BYTES)
    mapped = _cast_elements(text)
    if target == STRING and value.kind in {DATE, DATETIME, TIMESTAMP, TIME}:
        sql = value.sql
        if value.kind == TIMESTAMP:
            sql = f"timezone({zone or _UTC}, {sql})"
        elif value.kind == TIME:
            sql = f"(DATE '1970-01-01' + {sql})"
        return Typed(f"strftime({sql}, {text_literal(mapped)})", STRING)
    if value.kind == STRING and target.kind in _DUCK:
        moment = f"strptime({value.sql}, {text_literal(mapped)})"
        return Typed(_as_kind(moment, target, zone or _UTC, zoned=False), target)
    raise invalid(f"Invalid cast from {value.kind} to {target} with a FORMAT", node)


_UTC = "'UTC'"


def _cast_elements(text: str) -> str:
    result = ""
    while text:
        for element, mapped in _CAST_ELEMENTS:
            if text[: len(element)].upper() == element:
                result += mapped
                text = text[len(element) :]
                break
        else:
            result += text[0].replace("%", "%%")
            text = text[1:]
    return result


def _bytes_text(sql: str, wanted: str, node: Any) -> str:
    known = {"HEX": "lower(to_hex({0}))", "BASE64": "to_base64({0})", "UTF-8": "bq.utf8({0})"}
    if wanted.upper() not in known:
        raise invalid(f"Unsupported FORMAT '{wanted}' for BYTES", node)
    return known[wanted.upper()].replace("{0}", sql)


def _text_bytes(sql: str, wanted: str, node: Any) -> str:
    known = {"HEX": "from_hex({0})", "BASE64": "from_base64({0})", "UTF-8": "encode({0})"}
    if wanted.upper() not in known:
        raise invalid(f"Unsupported FORMAT '{wanted}' for BYTES", node)
    return known[wanted.upper()].replace("{0}", sql)


SPECIAL = {
    "FORMAT_DATE": _formatter(DATE),
    "FORMAT_DATETIME": _formatter(DATETIME),
    "FORMAT_TIME": _formatter(TIME),
    "FORMAT_TIMESTAMP": _formatter(TIMESTAMP),
    "PARSE_DATE": _parser(DATE),
    "PARSE_DATETIME": _parser(DATETIME),
    "PARSE_TIME": _parser(TIME),
    "PARSE_TIMESTAMP": _parser(TIMESTAMP),
}
