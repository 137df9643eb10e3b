"""The units of a FITS file: found by astropy, checked against the file before anything is read.

Owns the walk over headers and what is believed of them; reads no data.

References
----------
FITS Standard 4.0, https://fits.gsfc.nasa.gov/fits_standard.html
"""

from __future__ import annotations

import io
import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.errors import HoldfastError, InvalidInputError, MissingDependencyError, UnreadableError
from holdfast.formats.metadata import Metadata
from holdfast.formats.source import Source, SourceStream
from holdfast.paths import check_name

__all__ = ["Hdu", "Hdus", "fits_errors", "fits_library", "header_json"]

Kind = Literal["image", "compressed", "table", "empty", "other"]

_BLOCK = 2880
_MAX_HEADER_BYTES = 4 << 20
_MAX_HDUS = 10_000
# The filters of warnings belong to the process: they are changed by one thread at a time.
_LOCK = threading.RLock()
_COMMENTS = ("COMMENT", "HISTORY", "")


def fits_library() -> Any:
    """Return ``astropy.io.fits``.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        import astropy.io.fits
    except ImportError as error:
        raise MissingDependencyError("FITS files need astropy: pip install 'holdfast[fits]'") from error
    return astropy.io.fits


@contextmanager
def fits_errors(name: str) -> Iterator[None]:
    """Turn whatever astropy raises about a file into ours; what it warns about is not shown.

    Parameters
    ----------
    name : str
        What errors call the file.
    """
    broken = (fits_library().VerifyError, OSError, ValueError, TypeError, LookupError, AttributeError)
    further = (
        OverflowError,
        ZeroDivisionError,
        RuntimeError,
        EOFError,
        AssertionError,
        zlib.error,
        struct.error,
    )
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except HoldfastError:
            raise
        except (*broken, *further) as error:
            raise UnreadableError(f"{name} is no sound FITS file: {str(error)[:200]}") from error


@dataclass(slots=True)
class Hdu:
    """One unit of a file: header and data.

    Parameters
    ----------
    key : str
        Its name among the others.
    kind : str
        What its data is.
    header : astropy.io.fits.Header
        Of a compressed image, that of the image.
    offset, size : int
        Where its data starts and how many bytes it has, without padding.
    unit : HDU of astropy
        For what only astropy can read.
    name : str
        What errors call it.
    """

    key: str
    kind: Kind
    header: Any
    offset: int
    size: int
    unit: Any
    name: str


class Hdus:
    """All units of a file.

    Parameters
    ----------
    source : Source
        The file; not closed.

    Raises
    ------
    UnreadableError
        A header is damaged, or claims more than the file holds.
    """

    def __init__(self, source: Source) -> None:
        fits = fits_library()
        self._source = source
        self._stream = SourceStream(source)
        self.all: list[Hdu] = []
        with fits_errors(source.name):
            buffered = io.BufferedReader(self._stream)
            _check_header(source, 0)
            self._opened = fits.open(buffered, "readonly", memmap=False, lazy_load_hdus=True)
            self._walk(fits)
        if self._stream.failure is not None:
            raise self._stream.failure

    def _walk(self, fits: Any) -> None:
        at, number = 0, 0
        while number < _MAX_HDUS and self._has_unit(at):
            _check_header(self._source, at)
            unit = self._opened[number]
            place = self._opened.fileinfo(number)
            size = _data_bytes(unit, fits)
            self._check_end(number, place["datLoc"], size)
            key = self._key(unit, number)
            name = f"{self._source.name}, unit {key}"
            self.all.append(Hdu(key, _kind(unit, fits), unit.header, place["datLoc"], size, unit, name))
            at, number = place["datLoc"] + -(-size // _BLOCK) * _BLOCK, number + 1
        if at > self._source.size:
            # Further units may be gone without a trace.
            raise UnreadableError(
                f"{self._source.name} ends inside a block of {_BLOCK} bytes: it is truncated; copy it again, "
                f"or if its writer always ends so, pad it with 'truncate -s %{_BLOCK}'"
            )

    def _has_unit(self, at: int) -> bool:
        """Whether another header begins; what else may follow the last unit is no data."""
        if at == 0:
            return True
        start = bytes(self._source.read(at, max(min(self._source.size - at, 8), 0)))
        return bool(start) and b"XTENSION".startswith(start)

    def _check_end(self, number: int, start: int, size: int) -> None:
        if start + size > self._source.size:
            raise UnreadableError(
                f"{self._source.name} has {self._source.size} bytes, its unit {number} ends at byte "
                f"{start + size}: the file is truncated; copy it again"
            )

    def _key(self, unit: Any, number: int) -> str:
        """Return the name of a unit, or its number where it has none that is free and fit for a path."""
        name = str(unit.name or "").strip()
        if number and name and all(name != each.key for each in self.all):
            try:
                check_name(name, "name", reserved=True)
            except InvalidInputError:
                return str(number)
            return name
        return str(number) if number else "PRIMARY"

    def find(self, key: str) -> Hdu | None:
        """Return the unit of a name; None when there is none."""
        return next((each for each in self.all if each.key == key), None)

    def close(self) -> None:
        """Let astropy forget the file."""
        with _LOCK:
            self._opened.close()


def _check_header(source: Source, at: int) -> None:
    """Look for a header's end, so that no library reads on and on for it."""
    limit = min(source.size - at, _MAX_HEADER_BYTES)
    for start in range(at, at + limit, 64 * _BLOCK):
        data = bytes(source.read(start, min(64 * _BLOCK, at + limit - start)))
        if any(data[card : card + 8] == b"END     " for card in range(0, len(data), 80)):
            return
    raise UnreadableError(
        f"{source.name} has a FITS header without end at byte {at}: it is truncated or damaged"
    )


def _data_bytes(unit: Any, fits: Any) -> int:
    """Return the size of the data as the header has it, in whole numbers that cannot overflow."""
    header = unit._header if not isinstance(unit, fits.CompImageHDU) else unit._bintable.header
    axes = [int(header[f"NAXIS{n + 1}"]) for n in range(int(header.get("NAXIS", 0)))]
    if not axes:
        return 0
    if axes[0] == 0 and header.get("GROUPS") is True:
        axes = axes[1:]
    counts = [*axes, int(header.get("PCOUNT", 0)), int(header.get("GCOUNT", 1)), abs(int(header["BITPIX"]))]
    if min(counts) < 0:
        raise UnreadableError(f"a header gives negative lengths {axes}")
    *_, extra, groups, bits = counts
    return groups * (extra + math.prod(axes)) * bits // 8


def _kind(unit: Any, fits: Any) -> Kind:
    if isinstance(unit, fits.CompImageHDU):
        return "compressed"
    if isinstance(unit, fits.GroupsHDU):
        return "other"
    if isinstance(unit, fits.ImageHDU | fits.PrimaryHDU):
        return "image" if int(unit.header.get("NAXIS", 0)) else "empty"
    return "table" if isinstance(unit, fits.BinTableHDU | fits.TableHDU) else "other"


def header_json(header: Any) -> dict[str, Any]:
    """Return the cards of a header as JSON; of repeated keywords the first, remarks as lists of lines."""
    values: dict[str, Any] = {}
    for card in header.cards:
        try:
            keyword, value = str(card.keyword), card.value
        except (ValueError, TypeError, LookupError, AttributeError, fits_library().VerifyError):
            # Metadata that cannot be read does not make the data unreadable.
            keyword, value = "", None
        if keyword in _COMMENTS:
            if keyword and str(value).strip():
                values.setdefault(keyword, []).append(str(value))
        else:
            values.setdefault(keyword, None if _is_undefined(value) else value)
    collected = Metadata()
    for keyword, value in values.items():
        collected.put((keyword,), value)
    return collected.to_json()


def _is_undefined(value: Any) -> bool:
    """Whether a card has a keyword and no value."""
    return type(value).__name__ == "Undefined"
