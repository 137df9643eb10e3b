"""Nothing acknowledged is lost, nothing is doubled: processes, kills, lost answers."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import holdfast
from holdfast.analysis import AnalysisClient, LocalAnalysisClient
from holdfast.errors import ReadOnlyError
from served import served

SOURCE = str(Path(holdfast.__file__).parents[1])
KEYS = {"x": {"source": "fit", "dtype": "number", "shape": []}}


def insert_many(directory, name, count, batch):
    with LocalAnalysisClient(directory) as client:
        stream = f"stream-{name}"
        client.insert_data_reference_header("header", stream, data_keys=KEYS)
        if batch == 1:
            for n in range(count):
                client.insert_data_reference(stream, f"{name}-{n}", data={"x": n})
        else:
            references = ({"uid": f"{name}-{n}", "data": {"x": n}} for n in range(count))
            client.insert_bulk_data_reference(stream, references, batch)


def run_two(lab, count, batch):
    with LocalAnalysisClient(lab) as client:
        client.insert_analysis_header("header")
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=insert_many, args=(lab, name, count, batch)) for name in "ab"]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        for name in "ab":
            found = client.find(
                "data_reference", {"data_reference_header": f"stream-{name}"}, sort=[("seq_num", 1)]
            )
            assert [each["uid"] for each in found] == [f"{name}-{n}" for n in range(count)]
            assert [each["seq_num"] for each in found] == list(range(1, count + 1))


def test_two_processes_lose_nothing(lab):
    run_two(lab, 300, 20)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 500])
def test_two_processes_of_10000_lose_nothing(lab, batch):
    run_two(lab, 10_000, batch)


WRITER = """
import sys
from holdfast.analysis import LocalAnalysisClient
client = LocalAnalysisClient(sys.argv[1])
number = 0
while True:
    print(client.insert_analysis_header(f"u{number}", 1.0, {"used": ["records/x"]}), flush=True)
    number += 1
"""


@pytest.mark.parametrize("delay", [1, 40])
def test_kill_after_an_answer_loses_nothing(lab, delay):
    command = [sys.executable, "-c", WRITER, str(lab)]
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        answered = [process.stdout.readline().strip() for _ in range(delay)]
        process.send_signal(signal.SIGKILL)
        answered += process.stdout.read().split()
    with LocalAnalysisClient(lab) as client:
        kept = {each["uid"] for each in client.find_analysis_header()}
        assert set(answered) <= kept
        assert len(kept) - len(answered) in (0, 1)
        # Documents and their links are kept in one step.
        links = client._documents.database.links.to(client._documents.places.name_of("records/x"))
        assert len(links) == len(kept)


def insert_until_it_breaks(client, answered):
    while True:
        answered.append(client.insert_analysis_header(f"u{len(answered)}"))


@pytest.mark.slow
def test_kill_of_a_server_loses_nothing_answered(lab):
    answered = []
    with served("analysis", lab) as found:
        client = AnalysisClient(url=found.url, api_key=found.key)
        killer = threading.Timer(1.5, os.kill, (found.process.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(ConnectionError):
            insert_until_it_breaks(client, answered)
        found.process.wait(timeout=30)
    with LocalAnalysisClient(lab) as local:
        kept = {each["uid"] for each in local.find_analysis_header()}
        assert answered
        assert set(answered) <= kept


class LosesAnswers:
    """Pass requests on to a server and drop the first answer to each POST of a document."""

    def __init__(self, url):
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.posts = self.lost = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(near,), daemon=True).start()

    def relay(self, near):
        with near, socket.create_connection(self.target) as far:
            while request := whole_message(near):
                far.sendall(request)
                answer = whole_message(far)
                self.posts += 1
                if self.posts % 2:
                    self.lost += 1
                    return
                near.sendall(answer)


def whole_message(source):
    """Read a head and its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = source.recv(1 << 20)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])
    while len(body) < length:
        body += source.recv(1 << 20)
    return head + b"\r\n\r\n" + body


def test_lost_answers_are_asked_for_again_and_nothing_is_doubled(url, lab):
    relay = LosesAnswers(url)
    with AnalysisClient(url=relay.url, api_key="f00d" * 16) as client:
        header = client.insert_analysis_header()
        stream = client.insert_data_reference_header(header, data_keys=KEYS)
        uids = client.insert_bulk_data_reference(
            stream, [{"data": {"x": n}} for n in range(40)], chunk_size=10
        )
        client.insert_analysis_tail(header, exit_status="success")
    relay.listener.close()
    assert relay.lost >= 7
    with LocalAnalysisClient(lab) as local:
        found = local.find("data_reference", {}, sort=[("seq_num", 1)])
        assert [each["uid"] for each in found] == uids
        assert [each["seq_num"] for each in found] == list(range(1, 41))
        assert local.count("analysis_header") == local.count("analysis_tail") == 1


@pytest.mark.privileged
def test_documents_on_a_medium_that_cannot_be_written_are_found(lab):
    with LocalAnalysisClient(lab) as client:
        client.insert_analysis_header("a", provenance={"n": 1})
    subprocess.run(["mount", "--bind", lab, lab], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", lab], check=True)
        with LocalAnalysisClient(lab) as client:
            assert [each["uid"] for each in client.find_analysis_header(**{"provenance.n": 1})] == ["a"]
            with pytest.raises(ReadOnlyError):
                client.insert_analysis_header("b")
    finally:
        subprocess.run(["umount", lab], check=True)
