"""Aggregate and window functions: their signatures, and how they are told from others.

In a template `@name` is the DuckDB aggregate with the call's arguments, DISTINCT, ORDER BY,
FILTER and OVER; `@name[...]` has arguments of its own.
"""

# ruff: noqa: E501 - one function a line

from sqlglot import exp

from infra.local.bigquery.sql.signatures import read_signatures

AGGREGATES = read_signatures("""
COUNT(ANY) -> INT64 : @count
SUM(INT64) -> INT64 : CAST(@sum AS BIGINT)
SUM(NUMERIC) -> NUMERIC : @sum
SUM(BIGNUMERIC) -> BIGNUMERIC : @sum
SUM(FLOAT64) -> FLOAT64 : @sum
SUM(INTERVAL) -> INTERVAL : @sum
AVG(INT64) -> FLOAT64 : @avg
AVG(NUMERIC) -> NUMERIC : bq.ndiv(@sum, nullif(@count, 0))
AVG(BIGNUMERIC) -> BIGNUMERIC : bq.bndiv(@sum, nullif(@count, 0))
AVG(FLOAT64) -> FLOAT64 : @avg
MIN(T) -> T : @min
MAX(T) -> T : @max
ANY_VALUE(T) -> T : @any_value
MAX_BY(T, U) -> T : @arg_max_null
MIN_BY(T, U) -> T : @arg_min_null
ARRAY_AGG(T) -> ARRAY<T> : @list
ARRAY_CONCAT_AGG(ARRAY<T>) -> ARRAY<T> : flatten(@list)
STRING_AGG(STRING) -> STRING : @string_agg[{0}, ',']
STRING_AGG(STRING, STRING) -> STRING : @string_agg
COUNTIF(BOOL) -> INT64 : CAST(coalesce(@count_if, 0) AS BIGINT)
LOGICAL_AND(BOOL) -> BOOL : @bool_and
LOGICAL_OR(BOOL) -> BOOL : @bool_or
BIT_AND(INT64) -> INT64 : @bit_and
BIT_OR(INT64) -> INT64 : @bit_or
BIT_XOR(INT64) -> INT64 : @bit_xor
APPROX_COUNT_DISTINCT(ANY) -> INT64 : @count[DISTINCT {0}]
CORR(FLOAT64, FLOAT64) -> FLOAT64 : @corr
COVAR_POP(FLOAT64, FLOAT64) -> FLOAT64 : @covar_pop
COVAR_SAMP(FLOAT64, FLOAT64) -> FLOAT64 : @covar_samp
STDDEV(FLOAT64) -> FLOAT64 : @stddev_samp
STDDEV_SAMP(FLOAT64) -> FLOAT64 : @stddev_samp
STDDEV_POP(FLOAT64) -> FLOAT64 : @stddev_pop
VARIANCE(FLOAT64) -> FLOAT64 : @var_samp
VAR_SAMP(FLOAT64) -> FLOAT64 : @var_samp
VAR_POP(FLOAT64) -> FLOAT64 : @var_pop
GROUPING(ANY) -> INT64 : @grouping
APPROX_QUANTILES(T, INT64) -> ARRAY<T> : @quantile_disc[{0}, list_transform(generate_series(0, {1}), lambda i: i / {1})]
PERCENTILE_CONT(FLOAT64, FLOAT64) -> FLOAT64 : @quantile_cont
PERCENTILE_DISC(T, FLOAT64) -> T : @quantile_disc
""")

WINDOWS = read_signatures("""
ROW_NUMBER() -> INT64 : @row_number
RANK() -> INT64 : @rank
DENSE_RANK() -> INT64 : @dense_rank
PERCENT_RANK() -> FLOAT64 : @percent_rank
CUME_DIST() -> FLOAT64 : @cume_dist
NTILE(INT64) -> INT64 : @ntile
LAG(T) -> T : @lag
LAG(T, INT64) -> T : @lag
LAG(T, INT64, T) -> T : @lag
LEAD(T) -> T : @lead
LEAD(T, INT64) -> T : @lead
LEAD(T, INT64, T) -> T : @lead
FIRST_VALUE(T) -> T : @first_value
LAST_VALUE(T) -> T : @last_value
NTH_VALUE(T, INT64) -> T : @nth_value
""")

SPECIAL_AGGREGATES = {"APPROX_TOP_COUNT"}
_NAMES = frozenset(AGGREGATES) | SPECIAL_AGGREGATES


def is_aggregate(name: str) -> bool:
    """Whether a function of this name aggregates when it has no OVER."""
    return name.upper() in _NAMES


def has_aggregate(node: exp.Expr, *, windows: bool = False) -> bool:
    """Whether the expression aggregates (subqueries apart); with `windows`, or has an OVER."""
    stack: list[tuple[exp.Expr, bool]] = [(node, False)]
    while stack:
        current, over = stack.pop()
        if isinstance(current, exp.Query):
            continue
        if isinstance(current, exp.Window):
            if windows:
                return True
            stack.extend((child, child is current.this) for child in current.iter_expressions())
            continue
        if isinstance(current, exp.Anonymous) and not over and is_aggregate(current.name):
            return True
        stack.extend((child, False) for child in current.iter_expressions())
    return False
