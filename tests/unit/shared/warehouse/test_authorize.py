import pytest

from shared.warehouse.authorize import (
    BYTES_PER_TABLE,
    DryRun,
    ForeignTableError,
    FunctionNotAllowedError,
    StatementNotAllowedError,
    TooManyBytesError,
    authorize,
    bytes_cap,
)
from shared.warehouse.queries import Query

TENANT = "acme_corp"


def plan(*tables: str, statement_type: str = "SELECT", bytes_estimated: int = 0) -> DryRun:
    return DryRun(
        tables=tables, bytes_estimated=bytes_estimated, statement_type=statement_type, schema=()
    )


@pytest.mark.parametrize(
    "statement_type",
    ["INSERT", "UPDATE", "DELETE", "MERGE", "SCRIPT", "CREATE_TABLE", "EXPORT_DATA", "CALL", ""],
)
def test_anything_but_one_select_is_refused(statement_type: str) -> None:
    with pytest.raises(StatementNotAllowedError) as caught:
        authorize(Query(sql="..."), plan(statement_type=statement_type), TENANT, [])

    assert caught.value.statement_type == statement_type


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM `other`.INFORMATION_SCHEMA.TABLES",
        "SELECT * FROM `region-us.INFORMATION_SCHEMA.JOBS`",
        "SELECT * FROM other.information_schema.columns",
        "SELECT * FROM `other.__TABLES__`",
        "SELECT * FROM other.__tables__",
        "SELECT * FROM `other.__PARTITIONS_SUMMARY__`",
        r"SELECT * FROM `other.INFORMATION\x5FSCHEMA.TABLES`",
        r"SELECT * FROM `other.\u0049NFORMATION_SCHEMA.TABLES`",
        r"SELECT * FROM `other.\U00000049NFORMATION_SCHEMA.TABLES`",
        r"SELECT * FROM `other.\111NFORMATION_SCHEMA.TABLES`",
    ],
)
def test_metadata_is_refused_although_no_dry_run_lists_it(sql: str) -> None:
    with pytest.raises(ForeignTableError):
        authorize(Query(sql=sql), plan(), TENANT, [])


def test_escapes_in_a_text_are_not_taken_for_hidden_names() -> None:
    sql = r"SELECT 'a\nb' AS x, r'\d+' AS y, `plain` FROM UNNEST([1]) AS `plain`"

    authorize(Query(sql=sql), plan(), TENANT, [])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM EXTERNAL_QUERY('us.c', 'SELECT 1')",
        "SELECT * FROM `EXTERNAL_QUERY`/* x */('us.c', 'SELECT 1')",
        r"SELECT * FROM `EXTERNAL\x5fQUERY`('us.c', 'SELECT 1')",
        "SELECT * FROM external_object_transform(TABLE a, ['x'])",
        "SELECT * FROM APPENDS(TABLE a, NULL, NULL)",
        "SELECT * FROM CHANGES -- x\n (TABLE a, NULL, NULL)",
        "SELECT * FROM ML.PREDICT(MODEL `other.m`, (SELECT 1))",
        "SELECT * FROM `ML` . /* x */ `predict` (MODEL `other.m`, (SELECT 1))",
        "SELECT AI.GENERATE('x')",
        "SELECT KEYS.KEYSET_CHAIN('gcp-kms://x', b'x')",
        "SELECT DLP_KEY_CHAIN('gcp-kms://x', b'x')",
        "SELECT OBJ.GET_ACCESS_URL(OBJ.MAKE_REF('gs://other/x', 'us.c'), 'rw')",
        "SELECT OBJ.FETCH_METADATA(OBJ.MAKE_REF('gs://other/x', 'us.c'))",
        "SELECT ST_REGIONSTATS(ST_GEOGPOINT(0, 0), 'gs://other/x.tif', 'b')",
        "SELECT * FROM RANGE_SESSIONIZE(TABLE other.t, 'r', ['k'])",
        "SELECT * FROM GRAPH_TABLE(other.g MATCH (n) RETURN n.secret)",
        "SELECT * FROM GRAPH_EXPAND('other.g')",
        "GRAPH other.g MATCH (n) RETURN n.secret",
        "/* x */ graph `other.g` MATCH (n) RETURN n.secret",
        "SELECT ARRAY(GRAPH other.g MATCH (n) RETURN n.secret)",
        "SELECT * FROM ML -- x\r . PREDICT(MODEL `other.m`, (SELECT 1))",
        "SELECT * FROM CHANGES # x\r(TABLE a, NULL, NULL)",
    ],
)
def test_functions_that_reach_what_no_dry_run_lists_are_refused(sql: str) -> None:
    with pytest.raises(FunctionNotAllowedError):
        authorize(Query(sql=sql), plan(), TENANT, [])


def test_ordinary_columns_may_be_named_like_them() -> None:
    sql = (
        "SELECT changes, t.ml.score, COUNT(appends), (graph) + 1, obj.name, t.graph"
        " FROM UNNEST([STRUCT(1 AS changes)]) AS t"
    )

    authorize(Query(sql=sql), plan(), TENANT, [])


def test_comments_without_end_do_not_hold_up_the_check() -> None:
    for opened in ("ML", "CHANGES", "GRAPH"):
        authorize(Query(sql=f"SELECT ({opened} {'/**/' * 40} )"), plan(), TENANT, [])


def test_query_that_reads_no_table_is_allowed() -> None:
    authorize(Query(sql="SELECT 1"), plan(), TENANT, [])


def test_cap_leaves_room_for_the_billing_minimum_of_every_table() -> None:
    cap = bytes_cap(plan("p.d.a", "p.d.b", bytes_estimated=1000), allowed=None)

    assert cap == 1000 + 2 * BYTES_PER_TABLE
    assert bytes_cap(plan(), allowed=None) == BYTES_PER_TABLE


def test_estimate_up_to_the_limit_passes_and_one_byte_more_is_refused() -> None:
    assert bytes_cap(plan("p.d.a", bytes_estimated=1000), allowed=1000) > 1000
    with pytest.raises(TooManyBytesError) as caught:
        bytes_cap(plan("p.d.a", bytes_estimated=1001), allowed=1000)

    assert (caught.value.estimated, caught.value.allowed) == (1001, 1000)
    assert "1,001 bytes" in str(caught.value)
