"""The objects of DNP3 (IEEE 1815 annex A): what their points are made of, by group and variation.

A layout is a line of fields: ``i4:value`` is a signed number of 4 bytes, ``u`` unsigned, ``f`` with a point, ``t`` a
time of 6 bytes; a word in capitals is a byte of flags. ``x`` takes the rest of an object that says its size.
"""

from __future__ import annotations

from struct import unpack
from typing import Any, NamedTuple

from ids.protocols.spelling import text

MAX_OBJECTS = 64
MAX_POINTS = 256
"""Objects of a fragment and points of an object that are logged; it has no more than 2 KiB by the standard."""

_QUALITY = "online restart comm_lost remote_forced local_forced"
_FLAGS = {
    "BIN": f"{_QUALITY} chatter_filter reserved state",
    "DBL": f"{_QUALITY} chatter_filter state*2",
    "OUT": f"{_QUALITY} reserved0 reserved1 state",
    "CNT": f"{_QUALITY} rollover discontinuity reserved0",
    "CNU": f"{_QUALITY} rollover discontinuity reserved1",
    "CNV": f"{_QUALITY} rollover reserved0 reserved1",
    "ANA": f"{_QUALITY} over_range reference_err reserved0",
    "OPS": "op_type*4 qu cr tcc*2",
    "STA": "status_code*7 reserved",
    "STR": "status_code*7 reserved0",
    "CMD": "status_code*7 commanded_state",
}
_TIME = " t:timestamp"
_EVENTS = ("ANA i4:value", "ANA i2:value", "ANA i4:value" + _TIME, "ANA i2:value" + _TIME, "ANA f4:value",
           "ANA f8:value", "ANA f4:value" + _TIME, "ANA f8:value" + _TIME)  # fmt: skip
_CROB = "OPS u1:count u4:ontime u4:offtime STA"
_LAYOUTS: dict[int, tuple[str, ...]] = {
    1: ("", "BIN"),
    2: ("u1:state", "BIN" + _TIME, "BIN u2:timestamp"),
    3: ("", "DBL"),
    4: ("DBL", "DBL" + _TIME, "DBL u2:relative_time_ms"),
    10: ("", "OUT"),
    11: ("OUT", "OUT" + _TIME),
    12: (_CROB, _CROB),
    13: ("CMD", "CMD" + _TIME),
    20: ("CNT u4:count", "CNT u2:count", "CNV u4:count", "CNV u2:count", "u4:count", "u2:count", "u4:count",
         "u2:count"),
    21: ("CNT u4:count", "CNT u2:count", "CNV u4:count", "CNV u2:count", "CNU u4:count" + _TIME, "CNU u2:count" + _TIME,
         "CNV u4:count" + _TIME, "CNV u2:count" + _TIME, "u4:count", "u2:count", "u4:count", "u2:count"),
    22: ("CNT u4:count", "CNT u2:count", "CNV u4:count", "CNV u2:count", "CNV u4:count" + _TIME, "CNT u2:count" + _TIME,
         "CNV u4:count" + _TIME, "CNV u2:count" + _TIME),
    23: ("CNT u4:count", "CNV u2:count", "CNV u4:count", "CNV u2:count", "CNT u4:count" + _TIME, "CNT u2:count" + _TIME,
         "CNV u4:count" + _TIME, "CNV u2:count" + _TIME),
    30: ("ANA i4:value", "ANA i2:value", "i4:value", "i2:value", "ANA f4:value", "ANA f8:value"),
    31: ("ANA i4:value", "ANA i2:value", "ANA i4:value" + _TIME, "ANA i2:value" + _TIME, "i4:value", "i2:value",
         "ANA f4:value", "ANA f8:value"),
    32: _EVENTS,
    33: _EVENTS,
    34: ("u2:deadband_value", "u4:deadband_value", "f4:deadband_value"),
    40: ("ANA i4:value", "ANA i2:value", "ANA f4:value", "ANA f8:value"),
    41: tuple([f"{kind}:value u1:control_status" for kind in ("i4", "i2", "f4", "f8")]),
    42: _EVENTS,
    43: tuple([f"STR {kind}:commanded_value{time}" for kind, time in (
        ("i4", ""), ("i2", ""), ("i4", _TIME), ("i2", _TIME), ("f4", ""), ("f8", ""), ("f4", _TIME), ("f8", _TIME))]),
    50: ("t:timestamp", "t:timestamp u4:interval", "t:timestamp",
         "t:timestamp u4:interval_count u1:interval_units"),
    51: ("t:timestamp", "t:timestamp"),
    52: ("u2:delay_secs", "u2:delay_ms"),
    70: ("", "", "u2:filename_offset u2:filename_size t:created u2:permissions u4:authentication_key u4:file_size"
         " u2:operational_mode u2:maximum_block_size u2:request_id x:filename",
         "u4:file_handle u4:file_size u2:maximum_block_size u2:request_id u1:status_code x:optional_text",
         "u4:file_handle u4:block_number x:file_data", "u4:file_handle u4:block_number u1:status_code x:optional_text"),
}  # fmt: skip
_PACKED = {(1, 1): ("state", 1), (3, 1): ("state", 2), (10, 1): ("state", 1), (12, 3): ("point", 1),
           (80, 1): ("state", 1)}  # fmt: skip
"""Objects whose points have less than a byte each: the name, and the bits."""
_RANGE_SIZES = {0: 1, 1: 2, 2: 4}
_COUNT_SIZES = {7: 1, 8: 2, 9: 4, 11: 1}
_INDEX_SIZES = {0: 0, 1: 1, 2: 2, 3: 4}
_SIZE_SIZES = {4: 1, 5: 2, 6: 4}
_NO_RANGE = 6


class Field(NamedTuple):
    """A field of a point."""

    kind: str
    size: int
    name: str


class Ends(Exception):
    """There is less than an object says, or it cannot be known how much that is."""


class Reader:
    """Reads what is there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that are still to be read."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Return the next bytes; raises `Ends`."""
        if size > self.left:
            raise Ends
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        """Return a number of so many bytes, the lowest first; raises `Ends`."""
        return int.from_bytes(self.take(size), "little")


def _fields_of(line: str) -> list[Field]:
    fields = []
    for word in line.split():
        kind, _, name = word.partition(":")
        fields.append(Field(kind[0], int(kind[1:] or 6), name) if name else Field("F", 1, kind))
        if kind == "x":
            fields[-1] = Field("x", 0, name)
    return fields


_POINTS = {
    (group, number): _fields_of(line)
    for group, lines in _LAYOUTS.items()
    for number, line in enumerate(lines, 1)
    if line
}


class Unknown(Ends):
    """There are points whose layout is not known, and they do not say how long they are."""


def objects(data: bytes, *, carries: bool) -> tuple[list[dict[str, Any]], str]:
    """Return the objects of a fragment as EVE logs them, and why not all could be read; nothing where they could.

    ``carries``: they have points; of a request to read them, only those that say themselves which they mean.
    """
    reader, found = Reader(data), list[dict[str, Any]]()
    try:
        while reader.left and len(found) < MAX_OBJECTS:
            _read_object(reader, found, carries)
    except Unknown:
        return found, "unknown_object"
    except Ends:
        return found, "malformed"
    return found, "malformed" if reader.left else ""


def _read_object(reader: Reader, found: list[dict[str, Any]], carries: bool) -> None:
    group, variation, qualifier = reader.take(3)
    prefix, span = qualifier >> 4 & 7, qualifier & 15
    start = stop = count = 0
    if span in _RANGE_SIZES:
        start, stop = reader.number(_RANGE_SIZES[span]), reader.number(_RANGE_SIZES[span])
        if stop < start:
            raise Ends
        count = stop - start + 1
    elif span in _COUNT_SIZES:
        count = reader.number(_COUNT_SIZES[span])
    elif span != _NO_RANGE:
        raise Ends
    made: dict[str, Any] = {
        "group": group, "variation": variation, "qualifier": qualifier, "prefix_code": prefix, "range_code": span,
        "start": start, "stop": stop, "count": count,
    }  # fmt: skip
    found.append(made)
    if not count or not (carries or prefix):
        return
    points: list[dict[str, Any]] = []
    made["points"] = points
    if (group, variation) in _PACKED and not prefix:
        _read_packed(reader, _PACKED[group, variation], start, count, points)
        return
    layout = _POINTS.get((group, variation))
    if layout is None and prefix not in _SIZE_SIZES:
        del made["points"]
        raise Unknown
    for number in range(count):
        point = _point(reader, layout, prefix, start + number)
        if len(points) < MAX_POINTS:
            points.append(point)


def _read_packed(reader: Reader, of: tuple[str, int], start: int, count: int, points: list[dict[str, Any]]) -> None:
    name, width = of
    if count * width > 8 * reader.left:
        raise Ends
    bits = int.from_bytes(reader.take((count * width + 7) // 8), "little")
    for number in range(min(count, MAX_POINTS)):
        state = bits >> number * width & (1 << width) - 1
        points.append({"prefix": 0, "index": start + number, name: state})


def _point(reader: Reader, layout: list[Field] | None, prefix: int, index: int) -> dict[str, Any]:
    """Read one point; raises `Ends`."""
    if prefix in _SIZE_SIZES:
        size = reader.number(_SIZE_SIZES[prefix])
        inner = Reader(reader.take(size))
        point: dict[str, Any] = {"prefix": size, "index": index, "size": size}
    elif prefix in _INDEX_SIZES:
        inner = reader
        own = reader.number(_INDEX_SIZES[prefix])
        point = {"prefix": own, "index": own if prefix else index}
    else:
        raise Ends
    for field in layout or ():
        _read_field(inner, field, point)
    return point


def _read_field(reader: Reader, field: Field, point: dict[str, Any]) -> None:
    if field.kind == "F":
        byte, shift = reader.number(1), 0
        for word in _FLAGS[field.name].split():
            name, _, width = word.partition("*")
            bits = int(width or 1)
            point[name] = byte >> shift & (1 << bits) - 1
            shift += bits
    elif field.kind == "x":
        point[field.name] = text(reader.take(reader.left))
    elif field.kind == "f":
        (value,) = unpack("<f" if field.size == 4 else "<d", reader.take(field.size))
        point[field.name] = value if abs(value) < float("inf") else 0.0
    elif field.kind == "i":
        point[field.name] = int.from_bytes(reader.take(field.size), "little", signed=True)
    else:
        point[field.name] = reader.number(field.size)
