import pytest

from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.uploads import split_multipart

TYPE = 'multipart/related; boundary="==x=="'


def _body(content: bytes) -> bytes:
    return (
        b"--==x==\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n{}\r\n"
        b"--==x==\r\ncontent-type: */*\r\n\r\n" + content + b"\r\n--==x==--"
    )


@pytest.mark.parametrize("content", [b"", b"a\r\nb", b"\r\n\r\n", b"--==x", bytes(range(256))])
def test_content_comes_out_as_it_went_in(content: bytes) -> None:
    assert split_multipart(TYPE, _body(content)) == (b"{}", content)


@pytest.mark.parametrize(
    ("kind", "body"), [("application/json", b"{}"), (TYPE, b""), (TYPE, b"--==x==\r\n\r\n{}")]
)
def test_other_bodies_are_refused(kind: str, body: bytes) -> None:
    with pytest.raises(ApiError):
        split_multipart(kind, body)
