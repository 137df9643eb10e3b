"""A server that says that it kept whatever it is sent: the floor of a client that inserts.

usage: canned_status.py [FILE]

With FILE it waits for the disk once before each answer (4 KiB, written over and over): the floor of a server
that keeps its word.
"""

import os
import socket
import sys

import uvicorn

BODY = b'{"status":true}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


FILE = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT) if len(sys.argv) > 1 else None


def wait_for_disk() -> None:
    """Bring one page to the disk."""
    if FILE is not None:
        os.pwrite(FILE, os.urandom(4096), 0)
        os.fdatasync(FILE)


async def application(scope: dict, receive: object, send: object) -> None:
    """Read the body and answer the same to everyone."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    wait_for_disk()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(application, log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(config).run([listener])
