"""Run targets under atheris: `python guided.py SECONDS DIRECTORY NAME...`, with src and tests on the path.

atheris follows which lines of ours each input reaches and keeps what reaches new ones. It ends at the first
exception that is not ours and leaves the input in the directory of the target, beside what it said.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["holdfast"]):
    from fuzz.targets import TARGETS, Target, run


@atheris.instrument_func
def planted(data: bytes) -> None:
    """Have a fault behind three comparisons, which only a fuzzer that follows the lines finds soon."""
    if data[:1] == b"b" and data[1:2] == b"u" and data[2:3] == b"g":
        raise KeyError(data)


def main(seconds: str, directory: str, *names: str) -> None:
    """Fuzz targets one by one, each in a copy of this process: marking the lines takes the longest."""
    for name in names:
        home = Path(directory, name)
        home.mkdir()
        pid = os.fork()
        if not pid:
            fuzz(name, seconds, home)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        (home / "code").write_text(str(code))


def fuzz(name: str, seconds: str, home: Path) -> None:
    """Fuzz a target; this process ends with it."""
    log = os.open(home / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    target = Target(planted, [b"xxxx"]) if name == "planted" else TARGETS[name]
    corpus = home / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        "-timeout=20",
        "-rss_limit_mb=3000",
        "-max_len=20000",
        f"-artifact_prefix={home}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: run(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
