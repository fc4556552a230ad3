"""Scalar functions and operators: exact values and types, after BigQuery's reference."""

from collections.abc import Iterator

import pytest

from infra.local.bigquery.errors import ApiError
from tests.unit.infra.local.bigquery.sql_world import World


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as made:
        yield made


# expression, type, value in REST form
_TEXT = [
    ("CONCAT('a', 'b', 'c')", "STRING", "abc"),
    ("CONCAT('a', NULL)", "STRING", None),
    ("'a' || NULL", "STRING", None),
    ("b'a' || b'b'", "BYTES", "YWI="),
    ("LENGTH('наука')", "INTEGER", "5"),
    ("LENGTH(b'abc')", "INTEGER", "3"),
    ("BYTE_LENGTH('é')", "INTEGER", "2"),
    ("UPPER('ß é')", "STRING", "ẞ É"),
    ("TRIM('   apple   ')", "STRING", "apple"),
    ("TRIM('xyzxyappxle', 'xyz')", "STRING", "appxle"),
    ("LTRIM('***apple***', '*')", "STRING", "apple***"),
    ("RTRIM('  a ')", "STRING", "  a"),
    ("LPAD('abc', 5)", "STRING", "  abc"),
    ("LPAD('abc', 8, 'def')", "STRING", "defdeabc"),
    ("RPAD('abc', 2)", "STRING", "ab"),
    ("LEFT('banana', 3)", "STRING", "ban"),
    ("RIGHT('banana', 3)", "STRING", "ana"),
    ("REPEAT('ab', 3)", "STRING", "ababab"),
    ("REPLACE('apple pie', 'pie', 'cobbler')", "STRING", "apple cobbler"),
    ("REPLACE('abc', '', 'x')", "STRING", "abc"),
    ("REVERSE('abc')", "STRING", "cba"),
    ("SUBSTR('apple', 2)", "STRING", "pple"),
    ("SUBSTR('apple', 2, 2)", "STRING", "pp"),
    ("SUBSTR('apple', -2)", "STRING", "le"),
    ("SUBSTR('apple', 1, 123)", "STRING", "apple"),
    ("SUBSTR('apple', 123)", "STRING", ""),
    ("SUBSTR('apple', 0)", "STRING", "apple"),
    ("SUBSTR(b'abc', 2, 1)", "BYTES", "Yg=="),
    ("STARTS_WITH('bar', 'b')", "BOOLEAN", "true"),
    ("ENDS_WITH('apple', 'e')", "BOOLEAN", "true"),
    ("STRPOS('foo@example.com', '@')", "INTEGER", "4"),
    ("STRPOS('foo', 'z')", "INTEGER", "0"),
    ("INITCAP('Hello World-everyone!')", "STRING", "Hello World-Everyone!"),
    ("TRANSLATE('This is a cookie', 'sco', 'zku')", "STRING", "Thiz iz a kuukie"),
    ("CONTAINS_SUBSTR('the blue house', 'Blue house')", "BOOLEAN", "true"),
    ("ASCII('abcd')", "INTEGER", "97"),
    ("CHR(65)", "STRING", "A"),
    ("TO_HEX(b'\\x00\\x01\\xff')", "STRING", "0001ff"),
    ("FROM_HEX('0AF')", "BYTES", "AK8="),
    ("TO_BASE64(b'\\xde\\xad\\xbe\\xef')", "STRING", "3q2+7w=="),
    ("FROM_BASE64('3q2+7w==')", "BYTES", "3q2+7w=="),
    ("TO_HEX(MD5('a'))", "STRING", "0cc175b9c0f1b6a831c399e269772661"),
    ("TO_HEX(SHA1('a'))", "STRING", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
    (
        "TO_HEX(SHA256('a'))",
        "STRING",
        "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
    ),
    ("REGEXP_CONTAINS('foo@example.com', r'@[a-zA-Z0-9-]+\\.[a-zA-Z]+')", "BOOLEAN", "true"),
    ("REGEXP_EXTRACT('foo@example.com', r'^[a-z]+')", "STRING", "foo"),
    ("REGEXP_EXTRACT('foo@example.com', r'^(.)oo')", "STRING", "f"),
    ("REGEXP_EXTRACT('abc', r'x')", "STRING", None),
    ("REGEXP_EXTRACT('Hello Helloo', 'H?ello+', 1, 2)", "STRING", "Helloo"),
    ("REGEXP_REPLACE('# Heading', r'^# ([a-zA-Z0-9\\s]+$)', '<h1>\\\\1</h1>')", "STRING",
     "<h1>Heading</h1>"),
    ("REGEXP_INSTR('ab@cd-ef', '@[^-]*')", "INTEGER", "3"),
    ("FORMAT('%d', 10)", "STRING", "10"),
    ("FORMAT('%05d|%x|%s|%.3f|%t', 42, 255, 'é', 1.5, DATE '2025-01-02')", "STRING",
     "00042|ff|é|1.500|2025-01-02"),
    ("FORMAT(\"%'d\", 1234567)", "STRING", "1,234,567"),
    ("FORMAT('%.2f', NUMERIC '123456789012345678.125')", "STRING", "123456789012345678.13"),
    ("FORMAT('%T', [STRUCT(1, 'a')])", "STRING", '[(1, "a")]'),
    ("'abc' LIKE 'a%c'", "BOOLEAN", "true"),
    ("'a_c' LIKE r'a\\_c'", "BOOLEAN", "true"),
    ("'abc' LIKE r'a\\_c'", "BOOLEAN", "false"),
    ("'A' = 'a'", "BOOLEAN", "false"),
    ("'b' > 'B'", "BOOLEAN", "true"),
    ("EDIT_DISTANCE('abc', 'adc')", "INTEGER", "1"),
]  # fmt: skip
_NUMBERS = [
    ("1 + 2", "INTEGER", "3"),
    ("7 / 2", "FLOAT", "3.5"),
    ("DIV(7, 2)", "INTEGER", "3"),
    ("DIV(-7, 2)", "INTEGER", "-3"),
    ("MOD(-7, 3)", "INTEGER", "-1"),
    ("NUMERIC '1' / 3", "NUMERIC", "0.333333333"),
    ("NUMERIC '2' / 3", "NUMERIC", "0.666666667"),
    ("NUMERIC '-2' / 3", "NUMERIC", "-0.666666667"),
    ("NUMERIC '1.5' * 2", "NUMERIC", "3"),
    ("NUMERIC '0.000000001' * NUMERIC '0.5'", "NUMERIC", "0.000000001"),
    ("NUMERIC '-0.000000001' * NUMERIC '0.5'", "NUMERIC", "-0.000000001"),
    ("NUMERIC '99999999999999999999999999' * NUMERIC '2.5'", "NUMERIC",
     "249999999999999999999999997.5"),
    ("NUMERIC '1' + 1", "NUMERIC", "2"),
    ("NUMERIC '1' + 0.5", "NUMERIC", "1.5"),
    ("NUMERIC '1' + CAST(0.5 AS FLOAT64)", "FLOAT", "1.5"),
    ("1 + 0.5", "FLOAT", "1.5"),
    ("BIGNUMERIC '1' + NUMERIC '0.000000001'", "BIGNUMERIC", "1.000000001"),
    ("ROUND(2.5)", "FLOAT", "3.0"),
    ("ROUND(-2.5)", "FLOAT", "-3.0"),
    ("ROUND(3)", "FLOAT", "3.0"),
    ("ROUND(NUMERIC '2.345', 2)", "NUMERIC", "2.35"),
    ("ROUND(NUMERIC '-2.345', 2)", "NUMERIC", "-2.35"),
    ("ROUND(NUMERIC '123.5', -2)", "NUMERIC", "100"),
    ("TRUNC(NUMERIC '2.999')", "NUMERIC", "2"),
    ("TRUNC(-2.9)", "FLOAT", "-2.0"),
    ("CEIL(NUMERIC '2.000000001')", "NUMERIC", "3"),
    ("FLOOR(-2.1)", "FLOAT", "-3.0"),
    ("CEIL(5)", "FLOAT", "5.0"),
    ("ABS(-5)", "INTEGER", "5"),
    ("ABS(NUMERIC '-5.5')", "NUMERIC", "5.5"),
    ("SIGN(NUMERIC '-5.5')", "NUMERIC", "-1"),
    ("POW(2, 3)", "FLOAT", "8.0"),
    ("SQRT(16)", "FLOAT", "4.0"),
    ("SAFE_DIVIDE(10, 4)", "FLOAT", "2.5"),
    ("SAFE_DIVIDE(10, 0)", "FLOAT", None),
    ("SAFE_DIVIDE(NUMERIC '1', 3)", "NUMERIC", "0.333333333"),
    ("SAFE_DIVIDE(NUMERIC '1', NUMERIC '0')", "NUMERIC", None),
    ("SAFE_ADD(9223372036854775807, 1)", "INTEGER", None),
    ("SAFE_MULTIPLY(9223372036854775807, 2)", "INTEGER", None),
    ("IEEE_DIVIDE(1, 0)", "FLOAT", "Infinity"),
    ("IEEE_DIVIDE(0, 0)", "FLOAT", "NaN"),
    ("GREATEST(1, 2.5)", "FLOAT", "2.5"),
    ("GREATEST(1, NULL)", "INTEGER", None),
    ("LEAST(NUMERIC '2', 1)", "NUMERIC", "1"),
    ("5 & 3 | 8", "INTEGER", "9"),
    ("1 << 4", "INTEGER", "16"),
    ("~5", "INTEGER", "-6"),
    ("5 ^ 1", "INTEGER", "4"),
    ("BIT_COUNT(7)", "INTEGER", "3"),
    ("0xFF", "INTEGER", "255"),
    ("1e3", "FLOAT", "1000.0"),
    ("-9223372036854775808", "INTEGER", "-9223372036854775808"),
    ("IS_NAN(CAST('NaN' AS FLOAT64))", "BOOLEAN", "true"),
    ("RANGE_BUCKET(20, [0, 10, 20, 30])", "INTEGER", "3"),
]  # fmt: skip
_CONDITIONS = [
    ("IF(1 > 2, 'a', 'b')", "STRING", "b"),
    ("IF(NULL, 1, 2.5)", "FLOAT", "2.5"),
    ("IFNULL(NULL, 0)", "INTEGER", "0"),
    ("NULLIF(1, 1)", "INTEGER", None),
    ("COALESCE(NULL, NUMERIC '1', 2)", "NUMERIC", "1"),
    ("CASE 3 WHEN 1 THEN 'a' WHEN 3 THEN 'c' END", "STRING", "c"),
    ("CASE WHEN FALSE THEN DATE '2025-01-01' ELSE '2025-01-02' END", "DATE", "2025-01-02"),
    ("NULL = NULL", "BOOLEAN", None),
    ("NULL IS NULL", "BOOLEAN", "true"),
    ("1 IS DISTINCT FROM NULL", "BOOLEAN", "true"),
    ("NULL IS NOT DISTINCT FROM NULL", "BOOLEAN", "true"),
    ("NULL IS TRUE", "BOOLEAN", "false"),
    ("(1 = 1) IS NOT FALSE", "BOOLEAN", "true"),
    ("1 IN (1, NULL)", "BOOLEAN", "true"),
    ("2 IN (1, NULL)", "BOOLEAN", None),
    ("2 NOT IN (1, 3)", "BOOLEAN", "true"),
    ("2 IN UNNEST([1, 2])", "BOOLEAN", "true"),
    ("2 IN UNNEST(CAST(NULL AS ARRAY<INT64>))", "BOOLEAN", "false"),
    ("NULL IN UNNEST([1])", "BOOLEAN", None),
    ("3 IN UNNEST([1, NULL])", "BOOLEAN", None),
    ("5 BETWEEN 1 AND 5.5", "BOOLEAN", "true"),
    ("TRUE AND NULL", "BOOLEAN", None),
    ("FALSE AND NULL", "BOOLEAN", "false"),
    ("NOT NULL", "BOOLEAN", None),
    ("STRUCT(1, 'a') = STRUCT(1, 'a')", "BOOLEAN", "true"),
    ("(1, 2) IN ((1, 2), (3, 4))", "BOOLEAN", "true"),
]  # fmt: skip
_DATES = [
    ("DATE(2025, 2, 28)", "DATE", "2025-02-28"),
    ("DATE(TIMESTAMP '2025-01-01 03:00:00+00', 'America/New_York')", "DATE", "2024-12-31"),
    ("DATE(DATETIME '2025-01-01 23:59:59')", "DATE", "2025-01-01"),
    ("DATE '2025-1-2'", "DATE", "2025-01-02"),
    ("DATE_ADD(DATE '2025-01-31', INTERVAL 1 MONTH)", "DATE", "2025-02-28"),
    ("DATE_SUB(DATE '2024-02-29', INTERVAL 1 YEAR)", "DATE", "2023-02-28"),
    ("DATE_ADD(DATE '2025-01-01', INTERVAL -1 DAY)", "DATE", "2024-12-31"),
    ("DATE_ADD(DATE '2025-01-01', INTERVAL 2 WEEK)", "DATE", "2025-01-15"),
    ("DATE_ADD(DATE '2025-01-01', INTERVAL 1 QUARTER)", "DATE", "2025-04-01"),
    ("DATE '2025-01-01' + 5", "DATE", "2025-01-06"),
    ("DATE '2025-01-01' - 1", "DATE", "2024-12-31"),
    ("DATE_DIFF(DATE '2010-07-07', DATE '2008-12-25', DAY)", "INTEGER", "559"),
    ("DATE_DIFF(DATE '2017-10-15', DATE '2017-10-14', WEEK)", "INTEGER", "1"),
    ("DATE_DIFF(DATE '2017-10-15', DATE '2017-10-14', ISOWEEK)", "INTEGER", "0"),
    ("DATE_DIFF(DATE '2017-12-30', DATE '2014-12-30', ISOYEAR)", "INTEGER", "2"),
    ("DATE_DIFF(DATE '2017-12-18', DATE '2017-12-17', WEEK(MONDAY))", "INTEGER", "1"),
    ("DATE_DIFF(DATE '2025-03-01', DATE '2025-01-31', MONTH)", "INTEGER", "2"),
    ("DATE_TRUNC(DATE '2008-12-25', MONTH)", "DATE", "2008-12-01"),
    ("DATE_TRUNC(DATE '2017-11-05', WEEK(MONDAY))", "DATE", "2017-10-30"),
    ("DATE_TRUNC(DATE '2017-11-07', WEEK)", "DATE", "2017-11-05"),
    ("DATE_TRUNC(DATE '2017-11-04', WEEK(SATURDAY))", "DATE", "2017-11-04"),
    ("DATE_TRUNC(DATE '2017-11-03', WEEK(SATURDAY))", "DATE", "2017-10-28"),
    ("DATE_TRUNC(DATE '2015-06-15', ISOYEAR)", "DATE", "2014-12-29"),
    ("DATE_TRUNC(DATE '2025-05-15', QUARTER)", "DATE", "2025-04-01"),
    ("LAST_DAY(DATE '2008-11-25')", "DATE", "2008-11-30"),
    ("LAST_DAY(DATE '2008-11-25', YEAR)", "DATE", "2008-12-31"),
    ("LAST_DAY(DATE '2008-11-10', WEEK(SUNDAY))", "DATE", "2008-11-15"),
    ("EXTRACT(DAYOFWEEK FROM DATE '2025-01-05')", "INTEGER", "1"),
    ("EXTRACT(WEEK FROM DATE '2015-12-23')", "INTEGER", "51"),
    ("EXTRACT(ISOWEEK FROM DATE '2015-12-23')", "INTEGER", "52"),
    ("EXTRACT(ISOYEAR FROM DATE '2016-01-02')", "INTEGER", "2015"),
    ("EXTRACT(DAYOFYEAR FROM DATE '2025-02-01')", "INTEGER", "32"),
    ("EXTRACT(QUARTER FROM DATE '2025-05-01')", "INTEGER", "2"),
    ("EXTRACT(DATE FROM TIMESTAMP '2025-01-01 03:00:00+00' AT TIME ZONE 'America/New_York')",
     "DATE", "2024-12-31"),
    ("EXTRACT(MICROSECOND FROM TIMESTAMP '2025-01-01 00:00:05.123456+00')", "INTEGER", "123456"),
    ("EXTRACT(MILLISECOND FROM DATETIME '2025-01-01 00:00:05.123456')", "INTEGER", "123"),
    ("FORMAT_DATE('%x', DATE '2008-12-25')", "STRING", "12/25/08"),
    ("FORMAT_DATE('%b-%d-%Y', DATE '2008-12-25')", "STRING", "Dec-25-2008"),
    ("FORMAT_DATE('%Q %G-W%V %j', DATE '2008-12-25')", "STRING", "4 2008-W52 360"),
    ("FORMAT_TIMESTAMP('%c', TIMESTAMP '2050-12-25 15:30:55+00')", "STRING",
     "Sun Dec 25 15:30:55 2050"),
    ("FORMAT_TIMESTAMP('%FT%H:%M:%E6SZ', TIMESTAMP '2025-01-02 03:04:05.6+00')", "STRING",
     "2025-01-02T03:04:05.600000Z"),
    ("FORMAT_TIMESTAMP('%F %T', TIMESTAMP '2025-01-02 00:00:00+00', 'Asia/Kolkata')", "STRING",
     "2025-01-02 05:30:00"),
    ("FORMAT_DATETIME('%Y%m%d%H%M%E*S', DATETIME '2025-01-02 03:04:05.12')", "STRING",
     "20250102030405.12"),
    ("FORMAT_TIME('%R', TIME '15:30:00')", "STRING", "15:30"),
    ("PARSE_DATE('%x', '12/25/08')", "DATE", "2008-12-25"),
    ("PARSE_DATE('%Y%m%d', '20081225')", "DATE", "2008-12-25"),
    ("PARSE_DATE('%b %e %Y', 'Dec 25 2008')", "DATE", "2008-12-25"),
    ("PARSE_DATE('%m', '05')", "DATE", "1970-05-01"),
    ("PARSE_TIMESTAMP('%c', 'Thu Dec 25 07:30:00 2008')", "TIMESTAMP", "1230190200.0"),
    ("PARSE_TIMESTAMP('%Y-%m-%d %H:%M:%S%z', '2025-01-01 00:00:00+0100')", "TIMESTAMP",
     "1735686000.0"),
    ("PARSE_TIMESTAMP('%F %T', '2025-01-01 00:00:00', 'America/New_York')", "TIMESTAMP",
     "1735707600.0"),
    ("PARSE_TIMESTAMP('%s', '1735707600')", "TIMESTAMP", "1735707600.0"),
    ("PARSE_DATETIME('%Y-%m-%dT%H:%M:%E*S', '2025-01-01T10:20:30.5')", "DATETIME",
     "2025-01-01T10:20:30.500000"),
    ("PARSE_TIME('%H:%M', '07:30')", "TIME", "07:30:00"),
    ("SAFE.PARSE_DATE('%Y', 'x')", "DATE", None),
    ("TIMESTAMP('2025-01-01')", "TIMESTAMP", "1735689600.0"),
    ("TIMESTAMP(DATE '2025-01-01')", "TIMESTAMP", "1735689600.0"),
    ("TIMESTAMP('2025-01-01 00:00:00', 'America/New_York')", "TIMESTAMP", "1735707600.0"),
    ("TIMESTAMP '2025-01-01 00:00:00 UTC'", "TIMESTAMP", "1735689600.0"),
    ("TIMESTAMP '2025-01-01T00:00:00Z'", "TIMESTAMP", "1735689600.0"),
    ("TIMESTAMP '0001-01-01 00:00:00+00'", "TIMESTAMP", "-62135596800.0"),
    ("TIMESTAMP '9999-12-31 23:59:59.999999+00'", "TIMESTAMP", "253402300799.999999"),
    ("TIMESTAMP_ADD(TIMESTAMP '2025-01-01 00:00:00+00', INTERVAL 90 MINUTE)", "TIMESTAMP",
     "1735695000.0"),
    ("TIMESTAMP_SUB(TIMESTAMP '2025-01-01 00:00:00+00', INTERVAL 1 DAY)", "TIMESTAMP",
     "1735603200.0"),
    (("TIMESTAMP_DIFF(TIMESTAMP '2025-01-02 00:00:00+00', TIMESTAMP '2025-01-01 12:00:00+00',"
     " DAY)"), "INTEGER", "0"),
    ("TIMESTAMP_DIFF(TIMESTAMP '2018-08-14', TIMESTAMP '2018-10-14', DAY)", "INTEGER", "-61"),
    ("TIMESTAMP_DIFF(TIMESTAMP '2001-02-01 01:00:00', TIMESTAMP '2001-02-01 00:00:01', HOUR)",
     "INTEGER", "0"),
    ("TIMESTAMP_TRUNC(TIMESTAMP '2008-12-25 15:30:00+00', DAY, 'America/Los_Angeles')",
     "TIMESTAMP", "1230192000.0"),
    ("TIMESTAMP_TRUNC(TIMESTAMP '2008-12-25 15:30:00+00', HOUR)", "TIMESTAMP", "1230217200.0"),
    ("TIMESTAMP_SECONDS(1735689600)", "TIMESTAMP", "1735689600.0"),
    ("TIMESTAMP_MILLIS(-1)", "TIMESTAMP", "-0.001"),
    ("UNIX_SECONDS(TIMESTAMP '2025-01-01 00:00:00.9+00')", "INTEGER", "1735689600"),
    ("UNIX_MILLIS(TIMESTAMP '1969-12-31 23:59:59.9995+00')", "INTEGER", "-1"),
    ("UNIX_MICROS(TIMESTAMP '2025-01-01 00:00:00+00')", "INTEGER", "1735689600000000"),
    ("UNIX_DATE(DATE '2025-01-01')", "INTEGER", "20089"),
    ("DATE_FROM_UNIX_DATE(20089)", "DATE", "2025-01-01"),
    ("DATETIME(2025, 1, 2, 3, 4, 5)", "DATETIME", "2025-01-02T03:04:05"),
    ("DATETIME(TIMESTAMP '2025-01-01 00:00:00+00', 'America/New_York')", "DATETIME",
     "2024-12-31T19:00:00"),
    ("DATETIME_ADD(DATETIME '2025-01-31 10:00:00', INTERVAL 1 MONTH)", "DATETIME",
     "2025-02-28T10:00:00"),
    ("DATETIME_DIFF(DATETIME '2025-01-02 00:00:00', DATETIME '2025-01-01 23:59:59', DAY)",
     "INTEGER", "1"),
    ("DATETIME_TRUNC(DATETIME '2025-01-02 03:04:05', HOUR)", "DATETIME", "2025-01-02T03:00:00"),
    ("TIME(15, 30, 0)", "TIME", "15:30:00"),
    ("TIME_ADD(TIME '23:30:00', INTERVAL 60 MINUTE)", "TIME", "00:30:00"),
    ("TIME_DIFF(TIME '15:30:00', TIME '14:35:00', MINUTE)", "INTEGER", "55"),
    ("TIME_TRUNC(TIME '15:30:45', HOUR)", "TIME", "15:00:00"),
    ("CAST(DATE '2025-01-01' AS TIMESTAMP)", "TIMESTAMP", "1735689600.0"),
    ("STRING(TIMESTAMP '2025-01-01 00:00:00+00', 'America/New_York')", "STRING",
     "2024-12-31 19:00:00-05"),
    ("DATE '2025-03-10' - DATE '2025-03-01'", "INTERVAL", "0-0 9 0:0:0"),
    ("INTERVAL '1-2 3 4:5:6' YEAR TO SECOND", "INTERVAL", "1-2 3 4:5:6"),
    ("TIMESTAMP '2025-01-01 00:00:00+00' + INTERVAL 1 DAY", "TIMESTAMP", "1735776000.0"),
]  # fmt: skip
_JSON = [
    ("JSON_VALUE('{\"a\": {\"b\": \"x\"}}', '$.a.b')", "STRING", "x"),
    ("JSON_VALUE('{\"a\": [1, 2]}', '$.a')", "STRING", None),
    ("JSON_VALUE('{\"a\": 1.5}', '$.a')", "STRING", "1.5"),
    ("JSON_VALUE('{\"a.b\": 1}', '$.\"a.b\"')", "STRING", "1"),
    ("JSON_EXTRACT_SCALAR('{\"a b\": 1}', \"$['a b']\")", "STRING", "1"),
    ("JSON_QUERY('{\"a\": {\"b\":  1}}', '$.a')", "STRING", '{"b":1}'),
    ("JSON_QUERY('{\"a\": null}', '$.a')", "STRING", None),
    ("JSON_VALUE('not json', '$.a')", "STRING", None),
    ("JSON_VALUE(JSON '{\"a\": true}', '$.a')", "STRING", "true"),
    ("JSON '{\"a\": {\"b\": 5}}'.a.b", "JSON", "5"),
    ("JSON '[1, 2]'[1]", "JSON", "2"),
    ("JSON '{\"k\": 3}'['k']", "JSON", "3"),
    ("INT64(JSON '5')", "INTEGER", "5"),
    ("STRING(JSON '\"x\"')", "STRING", "x"),
    ("BOOL(JSON 'true')", "BOOLEAN", "true"),
    ("FLOAT64(JSON '1.5')", "FLOAT", "1.5"),
    ("LAX_INT64(JSON '\"7\"')", "INTEGER", "7"),
    ("JSON_TYPE(JSON '[1]')", "STRING", "array"),
    ("PARSE_JSON('{\"a\":[1,{\"b\":null}]}')", "JSON", '{"a":[1,{"b":null}]}'),
    ("TO_JSON(STRUCT(1 AS a, 'x' AS b, [1.5] AS c))", "JSON", '{"a":1,"b":"x","c":[1.5]}'),
    (("TO_JSON_STRING(STRUCT(NUMERIC '1.50' AS n, NULL AS z, b'a' AS y, TIMESTAMP"
     " '2025-01-01 00:00:00.5+00' AS t, DATE '2025-01-01' AS d))"), "STRING",
     '{"n":1.5,"z":null,"y":"YQ==","t":"2025-01-01T00:00:00.500Z","d":"2025-01-01"}'),
    ("TO_JSON_STRING('a\"b\\n')", "STRING", '"a\\"b\\n"'),
    ("TO_JSON_STRING(9007199254740993)", "STRING", '"9007199254740993"'),
    ("JSON_OBJECT('a', 1, 'b', [TRUE])", "JSON", '{"a":1,"b":[true]}'),
    ("JSON_ARRAY(1, 'x', NULL)", "JSON", '[1,"x",null]'),
]  # fmt: skip
_ARRAYS = [
    ("ARRAY_LENGTH([1, 2])", "INTEGER", "2"),
    ("ARRAY_TO_STRING(['a', NULL, 'b'], ',')", "STRING", "a,b"),
    ("ARRAY_TO_STRING(['a', NULL], ',', 'x')", "STRING", "a,x"),
    ("[10, 20][OFFSET(1)]", "INTEGER", "20"),
    ("[10, 20][ORDINAL(1)]", "INTEGER", "10"),
    ("[10, 20][0]", "INTEGER", "10"),
    ("[10, 20][SAFE_OFFSET(5)]", "INTEGER", None),
    ("[10, 20][SAFE_ORDINAL(0)]", "INTEGER", None),
    ("ARRAY_FIRST([3, 4])", "INTEGER", "3"),
    ("ARRAY_LAST([3, 4])", "INTEGER", "4"),
    ("STRUCT(1 AS a, STRUCT('x' AS c) AS b).b.c", "STRING", "x"),
    ("(SELECT AS STRUCT 1 AS a, 'x' AS b).b", "STRING", "x"),
]
_REPEATED = [
    ("[1, 2.5]", "FLOAT", ["1.0", "2.5"]),
    ("SPLIT('a,b,c')", "STRING", ["a", "b", "c"]),
    ("SPLIT('a b', ' ')", "STRING", ["a", "b"]),
    ("SPLIT('')", "STRING", [""]),
    ("ARRAY_CONCAT([1], [2, 3])", "INTEGER", ["1", "2", "3"]),
    ("ARRAY_REVERSE([1, 2])", "INTEGER", ["2", "1"]),
    ("GENERATE_ARRAY(1, 10, 3)", "INTEGER", ["1", "4", "7", "10"]),
    ("GENERATE_ARRAY(10, 0, -5)", "INTEGER", ["10", "5", "0"]),
    ("GENERATE_ARRAY(5, 1)", "INTEGER", []),
    ("GENERATE_DATE_ARRAY('2025-01-30', '2025-02-01')", "DATE",
     ["2025-01-30", "2025-01-31", "2025-02-01"]),
    ("GENERATE_DATE_ARRAY('2025-01-01', '2025-03-01', INTERVAL 1 MONTH)", "DATE",
     ["2025-01-01", "2025-02-01", "2025-03-01"]),
    ("GENERATE_TIMESTAMP_ARRAY('2025-01-01', '2025-01-02', INTERVAL 12 HOUR)", "TIMESTAMP",
     ["1735689600.0", "1735732800.0", "1735776000.0"]),
    ("JSON_VALUE_ARRAY('{\"a\":[\"x\",1]}', '$.a')", "STRING", ["x", "1"]),
    ("JSON_QUERY_ARRAY('[{\"a\":1},2]')", "STRING", ['{"a":1}', "2"]),
    ("REGEXP_EXTRACT_ALL('a1b2', r'([a-z])\\d')", "STRING", ["a", "b"]),
    ("ARRAY(SELECT x * 2 FROM UNNEST([3, 1, 2]) AS x ORDER BY x DESC)", "INTEGER",
     ["6", "4", "2"]),
    ("ARRAY(SELECT 1 FROM UNNEST([1]) WHERE FALSE)", "INTEGER", []),
    ("CAST(NULL AS ARRAY<STRING>)", "STRING", []),
    ("ARRAY<DATE>['2025-01-01']", "DATE", ["2025-01-01"]),
    ("CAST(['1', '2'] AS ARRAY<STRING>)", "STRING", ["1", "2"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "kind", "value"), _TEXT + _NUMBERS + _CONDITIONS + _DATES + _JSON + _ARRAYS
)
def test_scalar(world: World, expression: str, kind: str, value: str | None) -> None:
    result = world.run(f"SELECT {expression} AS x")
    assert [(field["type"], field["mode"]) for field in result.schema] == [(kind, "NULLABLE")]
    assert world.value(f"SELECT {expression} AS x") == value


@pytest.mark.parametrize(("expression", "kind", "value"), _REPEATED)
def test_repeated(world: World, expression: str, kind: str, value: list[str]) -> None:
    assert world.types(f"SELECT {expression} AS x") == [f"x {kind} REPEATED"]
    assert world.value(f"SELECT {expression} AS x") == value


@pytest.mark.parametrize(("expression", "kind", "value"), _TEXT + _NUMBERS + _DATES + _JSON)
def test_dry_run_knows_the_type(world: World, expression: str, kind: str, value: object) -> None:
    (field,) = world.dry_run(f"SELECT {expression} AS x").schema
    assert field["type"] == kind


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 / 0", "division by zero: 1 / 0"),
        ("NUMERIC '1.5' / 0", "division by zero: 1.5 / 0"),
        ("MOD(5, 0)", "division by zero: MOD(5, 0)"),
        ("9223372036854775807 + 1", "int64 overflow: 9223372036854775807 + 1"),
        ("9223372036854775807 * 2", "int64 overflow: 9223372036854775807 * 2"),
        ("NUMERIC '99999999999999999999999999999' * 10", "numeric overflow"),
        ("[1, 2][OFFSET(5)]", "Array index 5 is out of bounds"),
        ("PARSE_DATE('%Y%m%d', 'abc')", 'Failed to parse input string "abc"'),
        ("PARSE_JSON('{a')", "Invalid input to PARSE_JSON: {a"),
        ("CAST(CONCAT('ab', 'c') AS INT64)", "Bad int64 value: abc"),
        ("CAST(CONCAT('1', '.5') AS INT64)", "Bad int64 value: 1.5"),
        ("CAST(CONCAT('x') AS FLOAT64)", "Bad double value: x"),
        ("CAST(CONCAT('x') AS BOOL)", "Bad bool value: x"),
        ("CAST(CONCAT('x') AS NUMERIC)", "Invalid NUMERIC value: x"),
        ("CAST(CONCAT('x') AS DATE)", "Invalid date: 'x'"),
        ("CAST(CONCAT('x') AS TIMESTAMP)", "Invalid timestamp: 'x'"),
        ("ERROR('boom')", "boom"),
        ("DATE_ADD(DATE '9999-12-31', INTERVAL 1 DAY)", "Date overflow"),
        ("SUBSTR('abc', 1, -1)", "Third argument in SUBSTR() cannot be negative"),
        ("DATE(TIMESTAMP '2025-01-01', 'Mars/Base')", "Invalid time zone: Mars/Base"),
        ("SQRT(-1)", "Argument to SQRT cannot be negative"),
    ],
)
def test_evaluation_error(world: World, expression: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        world.run(f"SELECT {expression}")
    assert (caught.value.reason, caught.value.message) == ("invalidQuery", message)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("CAST('abc' AS INT64)", 'Could not cast literal "abc" to type INT64 at [1:13]'),
        ("DATE '2025-13-01'", 'Could not cast literal "2025-13-01" to type DATE at [1:13]'),
        ("NUMERIC 'x'", "Invalid NUMERIC literal: 'x' at [1:16]"),
        ("1 = 'a'", ("No matching signature for operator = for argument types: INT64, STRING."
         " Supported signature: ANY = ANY at [1:8]")),
        ("UPPER(1)", ("No matching signature for function UPPER for argument types: INT64."
         " Supported signature: UPPER(STRING) at [1:8]")),
        ("NOSUCH(1)", "Function not found: NOSUCH at [1:8]"),
        ("UPER('a')", "Function not found: UPER; Did you mean UPPER? at [1:8]"),
        ("[1, 'a']", ("Array elements of types {INT64, STRING} do not have a common supertype"
         " at [1:9]")),
        ("CAST(TRUE AS DATE)", "Invalid cast from BOOL to DATE"),
        ("DATE_ADD(DATE '2025-01-01', INTERVAL 1 HOUR)",
         "DATE_ADD does not support the HOUR date part at [1:8]"),
        ("TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 MONTH)",
         "TIMESTAMP_ADD does not support the MONTH date part at [1:8]"),
        ("5 || 'a'", ("No matching signature for operator || for argument types: INT64, STRING."
         " at [1:8]")),
        ("SUM(1) + x", "Unrecognized name: x at [1:17]"),
        ("9223372036854775808", "Invalid integer literal: 9223372036854775808 at [1:8]"),
    ],
)  # fmt: skip
def test_analysis_error_is_already_in_the_dry_run(
    world: World, expression: str, message: str
) -> None:
    with pytest.raises(ApiError) as caught:
        world.dry_run(f"SELECT {expression}")
    assert (caught.value.reason, caught.value.message) == ("invalidQuery", message)


def test_volatile_functions_answer(world: World) -> None:
    first, second, now, today = world.rows(
        "SELECT GENERATE_UUID(), GENERATE_UUID(), CURRENT_TIMESTAMP(), CURRENT_DATE()"
    )[0]
    assert first != second
    assert len(first) == 36
    assert float(now) > 1.7e9
    assert len(today) == 10


def test_safe_prefix_turns_errors_of_each_row_into_null(world: World) -> None:
    rows = world.rows(
        "SELECT x, SAFE.PARSE_DATE('%Y%m%d', x), SAFE_CAST(x AS INT64)"
        " FROM UNNEST(['20250101', 'x']) AS x WITH OFFSET AS o ORDER BY o"
    )
    assert rows == [("20250101", "2025-01-01", "20250101"), ("x", None, None)]
