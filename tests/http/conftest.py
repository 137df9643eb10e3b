"""The small site of these tests, for all of them."""

from conftest_http import connection, local, payload, site, tcp, url

__all__ = ["connection", "local", "payload", "site", "tcp", "url"]
