"""Both transports reach every kind of route and answer the same."""

from __future__ import annotations

import os
import threading

import pytest
from blake3 import blake3

from holdfast.errors import HashError, InvalidInputError, NotFoundError, ServerError, TransportError
from holdfast.hashing import Digest
from http_requests import ROUTES, exchange


@pytest.mark.parametrize("wanted", ROUTES, ids=lambda wanted: "-".join(map(str, wanted[:2])))
def test_stepped_answers_equal_answers_over_tcp(tcp, local, wanted):
    assert exchange(tcp, *wanted) == exchange(local, *wanted)


def test_an_error_comes_back_as_the_class_that_was_raised(connection):
    with pytest.raises(NotFoundError, match="no entry 'x'") as caught:
        connection.get_json("/v1/missing")
    assert caught.value.details == {"key": "x"}


def test_a_fault_is_a_500_and_the_connection_goes_on(tcp, caplog):
    for _ in range(3):
        with pytest.raises(ServerError, match="internal error"):
            tcp.get_json("/v1/fault")
        assert tcp.get_json("/v1/") == {"root": f"{tcp.address}/v1"}


def test_a_file_arrives_in_the_callers_buffer(connection, payload):
    view = memoryview(bytearray(payload.stat().st_size))
    assert connection.read_into("/v1/file", view).checked == "no"
    assert view.tobytes() == payload.read_bytes()


def test_computed_bytes_are_verified_by_frames(connection):
    view = memoryview(bytearray(2_000_000))
    assert connection.read_into("/v1/stream", view).checked == "sent"
    assert view.tobytes() == b"".join(bytes([n]) * 100_000 for n in range(20))


@pytest.mark.parametrize("path", ["/v1/stream", "/v1/chunks", "/v1/bytes", "/v1/file"])
def test_a_body_of_unknown_size_arrives_in_pieces_without_its_frames(connection, path):
    assert b"".join(connection.pieces(path)) == connection.get_bytes(path)


def test_pieces_end_with_the_error_that_the_server_met(connection):
    with pytest.raises(HashError, match="block 1 of 'x'"):
        b"".join(connection.pieces("/v1/breaks"))


def test_small_bytes_carry_their_digest(connection):
    view = memoryview(bytearray(10))
    assert connection.read_into("/v1/bytes", view).checked == "sent"


def test_a_body_of_another_size_is_refused(connection):
    for size in (9, 11):
        with pytest.raises(TransportError):
            connection.read_into("/v1/bytes", memoryview(bytearray(size)))


def test_an_error_in_the_middle_keeps_its_class_in_frames(connection):
    with pytest.raises(HashError, match="block 1") as caught:
        connection.read_into("/v1/breaks", memoryview(bytearray(800_000)))
    assert caught.value.details == {"block": 1}


def test_an_error_in_the_middle_breaks_off_a_plain_body(tcp):
    with pytest.raises(TransportError):
        tcp.get_bytes("/v1/breaks")
    assert tcp.get_json("/v1/") is not None


def test_a_body_is_sent_and_read_as_json(connection):
    with connection.open("POST", "/v1/echo", body=b'{"name": "a", "n": 5}') as answer:
        assert answer.read() == b"Document(name='a', n=5)"


def test_a_malformed_body_names_the_place(connection):
    with pytest.raises(InvalidInputError, match=r"\$\.n"):
        connection.send_json("POST", "/v1/echo", {"name": "a", "n": "five"})
    with pytest.raises(InvalidInputError, match="not JSON"):
        connection.open("POST", "/v1/echo", body=b"{")


def test_an_upload_is_hashed_and_answered(connection):
    data = os.urandom(3_000_000)
    answer = connection.upload("PUT", "/v1/upload", data)
    assert answer == {"size": len(data), "digests": {"blake3": f"blake3:{blake3(data).hexdigest()}"}}


def test_an_upload_in_pieces_of_any_size_is_framed(connection):
    pieces = [b"a" * 10, b"b" * 2_500_000, b"", b"c"]
    answer = connection.upload("PUT", "/v1/upload", pieces, size=2_500_011)
    assert answer["digests"]["blake3"] == f"blake3:{blake3(b''.join(pieces)).hexdigest()}"


def test_an_upload_of_a_file_is_framed(connection, payload):
    assert connection.upload("PUT", "/v1/upload", payload)["size"] == payload.stat().st_size


def test_other_bytes_than_announced_are_refused(connection):
    wrong = Digest("sha256", "00" * 32)
    with pytest.raises(HashError, match="the upload"):
        connection.upload("PUT", "/v1/upload", b"abc", digest=wrong)


def test_an_upload_can_be_refused_before_its_body(connection):
    with pytest.raises(InvalidInputError, match="not taken"):
        connection.upload("PUT", "/v1/upload", b"x" * 5_000_000, headers={"refuse": "1"})


def test_many_threads_share_one_connection(connection):
    wrong = []

    def ask():
        for n in range(30):
            if connection.get_json(f"/v1/items/é {n}/b") != f"é {n}/b":
                wrong.append(n)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_events_arrive_over_tcp_and_end(tcp):
    events = list(tcp.events("/v1/live"))
    assert [(event.id, event.data) for event in events] == [
        ("2", "tick\n2"),
        ("1", "tick\n1"),
        ("0", "tick\n0"),
    ]


def test_live_events_need_a_server(local):
    with pytest.raises(TransportError, match="event bus"):
        list(local.events("/v1/live"))


def test_no_server_is_a_clear_error():
    from holdfast.http.client import Connection

    with pytest.raises(TransportError, match="is it running"):
        Connection.to_url("http://127.0.0.1:9", timeout_s=5.0).get_json("/")
