"""Own the counters of a site and their text form for Prometheus.

It does not measure: the edge reports each answer.

>>> from holdfast.http.metrics import Metrics
>>> metrics = Metrics()
>>> metrics.count("GET", 200, 0.5)
>>> 'holdfast_requests_total{method="GET",status="200"} 1' in metrics.text()
True
"""

from __future__ import annotations

import time

__all__ = ["MEDIA_TYPE", "Metrics"]

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Count answers."""

    def __init__(self) -> None:
        self.started_at = time.time()
        self.in_flight = 0
        self.body_bytes = 0
        self._answers: dict[tuple[str, int], int] = {}
        self._seconds = 0.0

    def count(self, method: str, status: int, seconds: float) -> None:
        """Count one answer.

        Parameters
        ----------
        method : str
            Of the request.
        status : int
            Of the answer.
        seconds : float
            From the head of the request to the last byte.
        """
        key = (method if method in _KNOWN_METHODS else "other", status)
        self._answers[key] = self._answers.get(key, 0) + 1
        self._seconds += seconds

    def text(self) -> str:
        """Return all counters in Prometheus' text format."""
        lines = ["# TYPE holdfast_requests_total counter"]
        for (method, status), count in sorted(self._answers.items()):
            lines.append(f'holdfast_requests_total{{method="{method}",status="{status}"}} {count}')
        values = [
            ("holdfast_request_seconds_total", "counter", f"{self._seconds:.6f}"),
            ("holdfast_body_bytes_total", "counter", str(self.body_bytes)),
            ("holdfast_requests_in_flight", "gauge", str(self.in_flight)),
            ("holdfast_start_time_seconds", "gauge", f"{self.started_at:.3f}"),
        ]
        for name, kind, value in values:
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"
