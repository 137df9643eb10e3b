"""Commands that run a server: serve, and the demo that ends with one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from holdfast import console
from holdfast.app import FACES, App, ServeOptions, build
from holdfast.app import serve as serve_directory
from holdfast.config import read_key_file, settings
from holdfast.errors import InvalidInputError
from holdfast.http.serving import running
from holdfast.paths import local_path

__all__ = ["app", "demo", "serve"]

app = typer.Typer(no_args_is_help=True)

_DIGEST_WHEN = ("now", "later", "never")

Port = Annotated[int, typer.Option(help="0 for a free one.", min=0, max=65535)]


@app.command()
def serve(
    target: Annotated[
        list[str], typer.Argument(metavar="[FACE] DIR", help="A directory, or one face of it.")
    ],
    *,
    public: Annotated[bool, typer.Option("--public", help="Let anyone read; writing needs a key.")] = False,
    public_write: Annotated[
        bool, typer.Option("--public-write", help="Let anyone write too: for a trusted network only.")
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Take analysis documents whose parents are not there.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="Where to listen; the default is this machine only.")
    ] = "127.0.0.1",
    port: Port = 8000,
    api_key_file: Annotated[str, typer.Option(help="File with the key to accept.")] = "",
    watch: Annotated[float, typer.Option(help="Look for changed files every so many seconds.", min=0)] = 0,
    digest: Annotated[
        str, typer.Option(help="now, later or never: when files are read for digests.")
    ] = "later",
    database: Annotated[str, typer.Option(help="Keep the database here.")] = "",
    allow_origin: Annotated[list[str] | None, typer.Option(help="Web page that may read answers.")] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="Further name of this server.")] = None,
    allow_outside: Annotated[list[str] | None, typer.Option(help="Directory that links may lead to.")] = None,
    sequences: Annotated[
        bool | None, typer.Option(help="Numbered images become one array; remembered.")
    ] = None,
) -> None:
    """Serve a directory: answers at once, lists and digests files while it serves."""
    face, directory = _face_and_directory(target)
    if digest not in _DIGEST_WHEN:
        raise InvalidInputError(f"--digest {digest!r}: give {', '.join(_DIGEST_WHEN)}")
    catalog = {
        "watch_s": watch or None,
        "digest": digest,
        "allow_outside": tuple(allow_outside or ()),
        "sequences": sequences,
    }
    options = ServeOptions(
        directory=directory,
        face=face,
        host=host,
        port=port,
        public=public or public_write,
        public_write=public_write,
        api_key=(read_key_file(api_key_file) if api_key_file else settings().api_key) or None,
        allow_origin=tuple(allow_origin or ()),
        allow_host=tuple(allow_host or ()),
        database=local_path(database) if database else None,
        faces={"catalog": catalog, "analysis": {"lenient": lenient}},
    )
    _serve(options)


@app.command()
def demo(
    directory: Annotated[str, typer.Argument(help="Your own data; a small real data set when absent.")] = "",
    to: Annotated[str, typer.Option(help="Where the download goes.")] = "",
    port: Port = 8000,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End instead of serving the result.")] = False,
) -> None:
    """Walk the whole circle: index, serve, search, slice, download, check, open offline."""
    # The libraries that write its data are loaded by who wants the demo, not by who serves.
    from holdfast.catalog.demo import QUERY, Tools, walk, write_data
    from holdfast.cli import run

    work = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    lab = local_path(directory) if directory else work / "lab"
    copy = local_path(to) if to else work / "stuff"
    database = work / "catalog.db" if directory else None
    if not directory:
        write_data(lab)
    options = ("--database", str(database)) if database else ()
    tools = Tools(run, lambda path: _serving(path, database), options)
    walk(lab, copy, tools, "" if directory else QUERY)
    console.line("# Serve what came home.")
    console.line(f"$ holdfast serve catalog --public {copy}")
    if no_serve:
        with _serving(copy, None) as url:
            console.line(f"  {url}")
        return
    again = ServeOptions(directory=copy, face="catalog", port=port, public=True)
    _serve(again)


def _serve(options: ServeOptions) -> None:
    """Serve until a signal comes, and say in lines how far listing and digesting are."""
    with console.following("index", "digest", is_live=False):
        serve_directory(options, lambda url, served: _announce(url, served, options))


@contextmanager
def _serving(directory: Path, database: Path | None) -> Iterator[str]:
    """Serve a directory on a free port of this machine while the context lasts."""
    options = ServeOptions(directory=directory, public=True, database=database)
    with build(options) as opened, running(opened.site) as url:
        yield url


def _face_and_directory(words: Sequence[str]) -> tuple[str | None, Path]:
    names = [face.name for face in FACES]
    if len(words) == 1:
        return None, local_path(words[0])
    if len(words) == 2 and words[0] in names:
        return words[0], local_path(words[1])
    raise InvalidInputError(
        f"'serve {' '.join(words)}': give a directory, or a face ({', '.join(names)}) and a directory"
    )


def _announce(url: str, served: App, options: ServeOptions) -> None:
    """Say where the server is and how to come in; standard output, so that programs can read it."""
    lines = [f"Holdfast serves {options.directory} at {url}", f"database: {served.database}"]
    if served.made_key:
        lines.append(f"API key (read and write; shown this once): {served.made_key}")
    if options.public:
        lines.append("anyone may read; writing needs a key")
    if options.api_key is None:
        lines.append(f"keys: holdfast key create {options.directory} --scope read --expires 30d")
    console.line("\n".join(lines), flush=True)
