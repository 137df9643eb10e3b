"""The original's server, in the environment of the original, in its MongoDB stand-in's mode (mongomock).

usage: analysisstore_server.py HEADERS

Its wheel lacks the schemas that it loads and never uses, so empty ones are put in their place. HEADERS
documents are there from the start: through the server they would take hours, each uid is compared with all.
"""

import json
import pathlib
import sys
import tempfile

import mongomock
import pkg_resources
import pymongo
import tornado.ioloop
import tornado.web

schemas = pathlib.Path(tempfile.mkdtemp())
for name in (
    "analysis_header",
    "analysis_tail",
    "data_reference",
    "bulk_data_reference",
    "data_reference_header",
):
    (schemas / f"{name}.json").write_text(json.dumps({}))
pkg_resources.resource_filename = lambda package, resource_name: str(
    schemas / pathlib.Path(resource_name).name
)
pymongo.MongoClient = mongomock.MongoClient

from analysisstore.server import astore, engine  # noqa: E402  # after the shims

CLIENT = mongomock.MongoClient()
astore.MongoClient = lambda **config: CLIENT


def main() -> None:
    """Fill the stand-in and serve."""
    CLIENT["bench"].analysis_header.insert_many(
        {
            "uid": f"h{n:06d}",
            "time": n,
            "provenance": {"n": n, "sample": {"name": f"s{n}"}},
            "owner": f"o{n % 50}",
        }
        for n in range(int(sys.argv[1]))
    )
    store = astore.AStore({"host": "", "port": 0, "database": "bench"})
    handlers = [
        (r"/analysis_header", engine.AnalysisHeaderHandler),
        (r"/data_reference", engine.DataReferenceHandler),
        (r"/data_reference_header", engine.DataReferenceHeaderHandler),
        (r"/analysis_tail", engine.AnalysisTailHandler),
        (r"/is_connected", engine.ConnStatHandler),
    ]
    server = tornado.web.Application(handlers, astore=store).listen(0, address="127.0.0.1")
    (listener,) = server._sockets.values()
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    tornado.ioloop.IOLoop.current().start()


main()
