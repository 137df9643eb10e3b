"""What the unmodified client does for the benchmarks; runs in its own environment and prints seconds as JSON.

usage: analysisstore_work.py HOST PORT WORK COUNT
"""

import json
import sys
import time
import uuid

from analysisstore.client.commands import AnalysisClient

HOST, PORT, WORK, COUNT = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
KEYS = {"x": {"source": "fit", "dtype": "number", "shape": []}}
client = AnalysisClient({"host": HOST, "port": PORT})


def stream():
    """Return the uid of a new data reference header."""
    header, found = str(uuid.uuid4()), str(uuid.uuid4())
    client.insert_analysis_header(header, time.time(), {})
    client.insert_data_reference_header(header, found, time.time(), KEYS)
    return found


def reference(n):
    """Return one data reference as the client's bulk takes it."""
    return {
        "uid": str(uuid.uuid4()),
        "time": time.time(),
        "data": {"x": float(n)},
        "timestamps": {"x": 1.0},
        "seq_num": n,
    }


def headers():
    """Insert headers one by one."""
    for n in range(COUNT):
        client.insert_analysis_header(str(uuid.uuid4()), time.time(), {"software": "fit", "n": n})


def references():
    """Insert data references one by one."""
    found = stream()
    for n in range(COUNT):
        client.insert_data_reference(found, str(uuid.uuid4()), time.time(), {"x": n}, {"x": 1.0}, seq_num=n)


def bulk():
    """Insert data references, 500 at once."""
    found = stream()
    for start in range(0, COUNT, 500):
        client.bulk_data_reference_insert(found, [reference(n) for n in range(start, start + 500)])


def answer(query):
    """Find headers; return how many."""
    return len(client.find("analysis_header", query))


started = time.perf_counter()
if WORK.startswith("{"):
    count = None
    for _ in range(COUNT):
        count = answer(json.loads(WORK))
else:
    count = {"headers": headers, "references": references, "bulk": bulk}[WORK]()
print(json.dumps({"seconds": time.perf_counter() - started, "count": count}))
