"""DuckDB macros for what GoogleSQL does differently, in the DuckDB schema `bq`.

An error raised on purpose is a cast of marked text (`failures.MARK`): unlike error(), a cast may
stand inside TRY, which SAFE. functions and SAFE_CAST become.
"""

# ruff: noqa: E501 - one function a line

import duckdb

from infra.local.bigquery.sql.failures import MARK

_MACROS = {
    # text to values
    "s2i(x)": r"""CASE WHEN regexp_full_match(x, '\s*[+-]?[0-9]+\s*') AND TRY_CAST(x AS BIGINT) IS NOT NULL
        THEN CAST(x AS BIGINT)
        WHEN regexp_full_match(x, '\s*[+-]?0[xX][0-9a-fA-F]{1,16}\s*') THEN
          CAST(CAST(replace(lower(trim(x)), '+', '') AS VARCHAR) AS BIGINT)
        ELSE CAST('@Bad int64 value: ' || x AS BIGINT) END""",
    "s2f(x)": r"""CASE WHEN TRY_CAST(x AS DOUBLE) IS NOT NULL THEN CAST(x AS DOUBLE)
        WHEN lower(trim(x)) IN ('+inf', '+infinity') THEN CAST('inf' AS DOUBLE)
        ELSE CAST('@Bad double value: ' || x AS DOUBLE) END""",
    "s2b(x)": """CASE lower(trim(x)) WHEN 'true' THEN true WHEN 'false' THEN false
        ELSE CAST('@Bad bool value: ' || x AS BOOLEAN) END""",
    "s2n(x)": r"""CASE WHEN regexp_full_match(x, '\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*')
        AND TRY_CAST(x AS DECIMAL(38,9)) IS NOT NULL THEN CAST(x AS DECIMAL(38,9))
        ELSE CAST('@Invalid NUMERIC value: ' || x AS DECIMAL(38,9)) END""",
    "s2bn(x)": r"""CASE WHEN regexp_full_match(x, '\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*')
        AND TRY_CAST(x AS DECIMAL(38,18)) IS NOT NULL THEN CAST(x AS DECIMAL(38,18))
        ELSE CAST('@Invalid BIGNUMERIC value: ' || x AS DECIMAL(38,18)) END""",
    "s2d(x)": r"""CASE WHEN regexp_full_match(x, '\s*[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}\s*')
        AND TRY_CAST(x AS DATE) IS NOT NULL THEN CAST(x AS DATE)
        ELSE CAST('@Invalid date: ''' || x || '''' AS DATE) END""",
    "s2t(x)": r"""CASE WHEN regexp_full_match(x, '\s*[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]{1,9})?\s*')
        AND TRY_CAST(x AS TIME) IS NOT NULL THEN CAST(x AS TIME)
        ELSE CAST('@Invalid time string "' || x || '"' AS TIME) END""",
    "s2dt(x)": r"""CASE WHEN regexp_full_match(x, '\s*[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}([Tt ]\s*[0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}(\.[0-9]{1,9})?)?)?\s*')
        AND TRY_CAST(x AS TIMESTAMP) IS NOT NULL THEN CAST(x AS TIMESTAMP)
        ELSE CAST('@Invalid datetime string "' || x || '"' AS TIMESTAMP) END""",
    "s2ts(x)": r"""CASE WHEN regexp_full_match(x, '\s*[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}.*')
        AND TRY_CAST(x AS TIMESTAMPTZ) IS NOT NULL THEN CAST(x AS TIMESTAMPTZ)
        ELSE CAST('@Invalid timestamp: ''' || x || '''' AS TIMESTAMPTZ) END""",
    "s2j(x)": """CASE WHEN json_valid(x) THEN CAST(json(x) AS JSON)
        ELSE CAST('@Invalid input to PARSE_JSON: ' || x AS BIGINT)::VARCHAR::JSON END""",
    # values to text
    "f2s(x)": r"""CASE WHEN isnan(x) THEN 'NaN'
        WHEN abs(x) >= 1e15 AND CAST(printf('%.15g', x) AS DOUBLE) = x THEN printf('%.15g', x)
        WHEN abs(x) >= 1e15 THEN printf('%.17g', x) ELSE regexp_replace(CAST(x AS VARCHAR), '\.0$', '') END""",
    "n2s(x)": "rtrim(rtrim(CAST(x AS VARCHAR), '0'), '.')",
    "frac(t)": r"""CASE WHEN regexp_matches(t, '\.\d{1,2}$') THEN t || repeat('0', 3 - len(regexp_extract(t, '\.(\d+)$', 1)))
        WHEN regexp_matches(t, '\.\d{4,5}$') THEN t || repeat('0', 6 - len(regexp_extract(t, '\.(\d+)$', 1)))
        ELSE t END""",
    "dt2s(x)": "bq.frac(CAST(x AS VARCHAR))",
    "t2s(x)": "bq.frac(CAST(x AS VARCHAR))",
    "ts2s(x)": "bq.frac(CAST(timezone('UTC', x) AS VARCHAR)) || '+00'",
    "utf8(x)": """CASE WHEN TRY(decode(x)) IS NULL AND x IS NOT NULL
        THEN CAST('@Cannot cast BYTES to STRING: invalid UTF-8' AS BIGINT)::VARCHAR ELSE decode(x) END""",
    "iv2s(x)": """(CASE WHEN bq.epoch_months(x) < 0 THEN '-' ELSE '' END) ||
        CAST(abs(bq.epoch_months(x)) // 12 AS VARCHAR) || '-' || CAST(abs(bq.epoch_months(x)) % 12 AS VARCHAR)
        || ' ' || CAST(datepart('day', x) AS VARCHAR) || ' ' || CAST(datepart('hour', x) AS VARCHAR)
        || ':' || CAST(abs(datepart('minute', x)) AS VARCHAR)
        || ':' || CAST(abs(datepart('second', x)) AS VARCHAR)""",
    "epoch_months(x)": "datepart('year', x) * 12 + datepart('month', x)",
    # numbers
    "f2i(x)": """CASE WHEN isnan(x) OR isinf(x) OR abs(x) >= 9223372036854775808.0
        THEN CAST('@Illegal conversion of value to int64: ' || bq.f2s(x) AS BIGINT)
        ELSE CAST(round(x) AS BIGINT) END""",
    # the exact binary value, rounded half away from zero: in 128-bit integers next to a tie
    "frac9(f)": """CAST((CAST(trunc(abs(f) * 79228162514264337593543950336.0) AS HUGEINT) * 1000000000
        + 39614081257132168796771975168) // 79228162514264337593543950336 AS BIGINT)""",
    "f2n(x)": """CASE WHEN isnan(x) OR isinf(x)
        THEN CAST('@Illegal conversion of non-finite floating point number to numeric: ' || bq.f2s(x) AS DECIMAL(38,9))
        WHEN abs(x) >= 1e29 THEN CAST('@numeric out of range: ' || bq.f2s(x) AS DECIMAL(38,9))
        WHEN abs(abs((x - trunc(x)) * 1e9 - trunc((x - trunc(x)) * 1e9)) - 0.5) < 1e-5
        THEN CAST(CAST(trunc(x) AS HUGEINT) AS DECIMAL(38,9))
          + CAST(bq.frac9(x - trunc(x)) * CAST(sign(x) AS BIGINT) AS DECIMAL(19,0)) * CAST('0.000000001' AS DECIMAL(9,9))
        ELSE CAST(CAST(trunc(x) AS HUGEINT) AS DECIMAL(38,9)) + CAST(x - trunc(x) AS DECIMAL(38,9)) END""",
    "f2bn(x)": """CASE WHEN isnan(x) OR isinf(x)
        THEN CAST('@Illegal conversion of non-finite floating point number to bignumeric: ' || bq.f2s(x) AS DECIMAL(38,18))
        WHEN abs(x) >= 1e20 THEN CAST('@bignumeric out of range: ' || bq.f2s(x) AS DECIMAL(38,18))
        WHEN abs(x - trunc(x)) < 0.0001220703125 AND x <> trunc(x) THEN CAST(format('{:.60f}', x) AS DECIMAL(38,18))
        ELSE CAST(CAST(trunc(x) AS HUGEINT) AS DECIMAL(38,18))
          + CAST((CAST(trunc(abs(x - trunc(x)) * 73786976294838206464.0) AS HUGEINT) * 1000000000000000000
          + 36893488147419103232) // 73786976294838206464 * CAST(sign(x) AS BIGINT) AS DECIMAL(38,0))
          * CAST('0.000000000000000001' AS DECIMAL(18,18)) END""",
    "ndiv(a, b)": """CASE WHEN b = 0
        THEN CAST('@division by zero: ' || bq.n2s(a) || ' / ' || bq.n2s(b) AS DECIMAL(38,9))
        ELSE CAST((2 * abs(CAST(a * 1000000000 AS HUGEINT)) * 1000000000 + abs(CAST(b * 1000000000 AS HUGEINT)))
          // (2 * abs(CAST(b * 1000000000 AS HUGEINT))) AS DECIMAL(38,0))
          * CAST(sign(a) * sign(b) AS DECIMAL(1,0)) * CAST('0.000000001' AS DECIMAL(9,9)) END""",
    "fdiv(a, b)": """CASE WHEN b = 0
        THEN CAST('@division by zero: ' || bq.f2s(a) || ' / ' || bq.f2s(b) AS DOUBLE) ELSE a / b END""",
    "imod(a, b)": """CASE WHEN b = 0
        THEN CAST('@division by zero: MOD(' || a || ', ' || b || ')' AS BIGINT) ELSE a % b END""",
    "idiv(a, b)": """CASE WHEN b = 0
        THEN CAST('@division by zero: DIV(' || a || ', ' || b || ')' AS BIGINT) ELSE a // b END""",
    "nmod(a, b)": """CASE WHEN b = 0
        THEN CAST('@division by zero: MOD(' || bq.n2s(a) || ', ' || bq.n2s(b) || ')' AS DECIMAL(38,9))
        ELSE CAST(a % b AS DECIMAL(38,9)) END""",
    "bndiv(a, b)": """CASE WHEN b = 0
        THEN CAST('@division by zero: ' || bq.n2s(a) || ' / ' || bq.n2s(b) AS DECIMAL(38,18))
        ELSE CAST(CAST(a AS DOUBLE) / CAST(b AS DOUBLE) AS DECIMAL(38,18)) END""",
    "nmul(a, b)": """CASE WHEN abs(CAST(a AS DOUBLE) * CAST(b AS DOUBLE)) < 9.9e19
        THEN CAST(a * b AS DECIMAL(38,9))
        ELSE CAST(CAST(trunc(a) AS DECIMAL(29,0)) * b AS DECIMAL(38,9))
          + CAST(CAST(a - trunc(a) AS DECIMAL(9,9)) * CAST(trunc(b) AS DECIMAL(29,0)) AS DECIMAL(38,9))
          + CAST(CAST(a - trunc(a) AS DECIMAL(9,9)) * CAST(b - trunc(b) AS DECIMAL(9,9)) AS DECIMAL(38,9)) END""",
    # dates
    "week_start(d, shift)": "CAST(date_trunc('week', d + CAST(shift AS INTEGER)) AS DATE) - CAST(shift AS INTEGER)",
    "ts_range(x)": """CASE WHEN x < TIMESTAMPTZ '0001-01-01 00:00:00+00' OR x > TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'
        THEN CAST('@Timestamp overflow' AS TIMESTAMPTZ) ELSE x END""",
    "dt_range(x)": """CASE WHEN x < TIMESTAMP '0001-01-01 00:00:00' OR x > TIMESTAMP '9999-12-31 23:59:59.999999'
        THEN CAST('@Datetime overflow' AS TIMESTAMP) ELSE x END""",
    "d_range(x)": """CASE WHEN x < DATE '0001-01-01' OR x > DATE '9999-12-31'
        THEN CAST('@Date overflow' AS DATE) ELSE x END""",
    # strings, arrays, JSON
    "substr2(s, p)": "CASE WHEN p >= 1 THEN substring(s, p) WHEN p = 0 THEN s WHEN -p >= len(s) THEN s ELSE substring(s, len(s) + p + 1) END",
    "substr3(s, p, n)": """CASE WHEN n < 0 THEN CAST('@Third argument in SUBSTR() cannot be negative' AS BIGINT)::VARCHAR
        ELSE left(bq.substr2(s, p), n) END""",
    "bsubstr2(s, p)": "CASE WHEN p >= 1 THEN array_slice(s, p, octet_length(s)) WHEN p = 0 OR -p >= octet_length(s) THEN s ELSE array_slice(s, octet_length(s) + p + 1, octet_length(s)) END",
    "bsubstr3(s, p, n)": "CASE WHEN n = 0 THEN CAST('' AS BLOB) ELSE array_slice(bq.bsubstr2(s, p), 1, n) END",
    "at(a, i)": """CASE WHEN i < 1 OR i > len(a)
        THEN list_extract(a, CAST('@Array index ' || CAST(i - 1 AS VARCHAR) || ' is out of bounds' AS BIGINT))
        ELSE list_extract(a, i) END""",
    "safe_at(a, i)": "CASE WHEN i < 1 THEN NULL ELSE list_extract(a, i) END",
    "rx(s, r)": "regexp_extract(s, r)",
    "jscalar(j)": "CASE json_type(j) WHEN 'OBJECT' THEN NULL WHEN 'ARRAY' THEN NULL WHEN 'NULL' THEN NULL ELSE j ->> '$' END",
}


def create_macros(cursor: duckdb.DuckDBPyConnection) -> None:
    """Define every macro; an older definition in a stored database is replaced."""
    cursor.execute("CREATE SCHEMA IF NOT EXISTS bq")
    pending = dict(_MACROS)
    while pending:
        created = []
        for head, body in pending.items():
            try:
                cursor.execute(f"CREATE OR REPLACE MACRO bq.{head} AS {body.replace('@', MARK)}")
                created.append(head)
            except duckdb.CatalogException:
                continue
        if not created:
            raise RuntimeError(f"macros that cannot be defined: {', '.join(pending)}")
        for head in created:
            del pending[head]
