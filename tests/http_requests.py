"""The requests whose answers must not depend on the transport."""

from __future__ import annotations

ROUTES = [
    ("GET", "/v1", {}),
    ("GET", "/v1/", {}),
    ("GET", "//v1//items//a", {}),
    ("GET", "/v1/items/a/b", {}),
    ("GET", "/v1/items/é ?#%25", {}),
    ("GET", "/v1/page", {}),
    ("GET", "/v1/missing", {}),
    ("GET", "/v1/nowhere", {}),
    ("GET", "/", {}),
    ("DELETE", "/v1/json", {}),
    ("OPTIONS", "/v1/json", {}),
    ("HEAD", "/v1/json", {}),
    ("GET", "/v1/empty", {}),
    ("GET", "/v1/file", {}),
    ("HEAD", "/v1/file", {}),
    ("GET", "/v1/file", {"range": "bytes=100-2000000"}),
    ("GET", "/v1/file", {"range": "bytes=-7"}),
    ("GET", "/v1/file", {"range": "bytes=99999999-"}),
    ("GET", "/v1/file", {"range": "lines=1-2"}),
    ("GET", "/v1/bytes", {}),
    ("GET", "/v1/bytes", {"if-none-match": '"x"'}),
    ("GET", "/v1/bytes", {"range": "bytes=2-4", "if-range": '"x"'}),
    ("GET", "/v1/bytes", {"range": "bytes=2-4", "if-range": '"y"'}),
    ("GET", "/v1/bytes", {"if-match": '"y"'}),
    ("GET", "/v1/large", {}),
    ("GET", "/v1/stream", {}),
    ("GET", "/v1/stream", {"accept": "application/vnd.holdfast.frames"}),
    ("GET", "/v1/chunks", {}),
    ("PUT", "/v1/raw", {}),
]
_OF_THE_SERVER = {"date", "transfer-encoding", "connection"}


def exchange(connection, method, path, headers):
    """Return status, fields and body; the two transports have different addresses."""
    body = b"\x00\x01" * 1000 if method == "PUT" else None
    answer = connection._transport.open(
        method, connection._target(path, None), connection._fields(headers), body
    )
    with answer:
        fields = sorted((k, v) for k, v in answer.headers.items() if k not in _OF_THE_SERVER)
        data = answer.read().replace(connection.address.encode(), b"ADDRESS")
    fields = [(k, v) for k, v in fields if k != "content-length" or b"ADDRESS" not in data]
    return answer.status, fields, data
