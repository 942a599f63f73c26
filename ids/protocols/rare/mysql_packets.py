"""What packets of MySQL's protocol say (its documentation, chapter "Client/Server Protocol"; MariaDB's of the same
name): the greeting, the login, and what commands carry before their text.
"""

from __future__ import annotations

from enum import IntFlag
from typing import NamedTuple

MAX_ATTRIBUTES = 64
"""Attributes of a client that are read: connectors send about ten."""
MAX_PARAMETERS = 64
"""Attributes of a query that are passed over to find its text."""

COMMANDS = {
    0x00: "sleep", 0x01: "quit", 0x02: "init_db", 0x03: "query", 0x04: "field_list", 0x05: "create_db",
    0x06: "drop_db", 0x07: "refresh", 0x08: "shutdown", 0x09: "statistics", 0x0A: "process_info", 0x0B: "connect",
    0x0C: "process_kill", 0x0D: "debug", 0x0E: "ping", 0x0F: "time", 0x10: "delayed_insert", 0x11: "change_user",
    0x12: "binlog_dump", 0x13: "table_dump", 0x14: "connect_out", 0x15: "register_replica", 0x16: "stmt_prepare",
    0x17: "stmt_execute", 0x18: "stmt_send_long_data", 0x19: "stmt_close", 0x1A: "stmt_reset", 0x1B: "set_option",
    0x1C: "stmt_fetch", 0x1D: "daemon", 0x1E: "binlog_dump_gtid", 0x1F: "reset_connection", 0x20: "clone",
    0x21: "subscribe_group_replication_stream", 0xFA: "stmt_bulk_execute", 0xFE: "multi",
}  # fmt: skip
"""By number: the names of the documentation without their ``COM_``, in small letters."""


class Capability(IntFlag):
    """What both sides can do: the bits that change how packets are read."""

    MYSQL = 1
    """MariaDB's servers clear it, and so do its clients that know more than MySQL's."""
    CONNECT_WITH_DB = 1 << 3
    COMPRESS = 1 << 5
    PROTOCOL_41 = 1 << 9
    SSL = 1 << 11
    SECURE_CONNECTION = 1 << 15
    PLUGIN_AUTH = 1 << 19
    CONNECT_ATTRS = 1 << 20
    LENGTH_OF_LOGIN = 1 << 21
    SESSION_TRACK = 1 << 23
    DEPRECATE_EOF = 1 << 24
    OPTIONAL_METADATA = 1 << 25
    ZSTD = 1 << 26
    QUERY_ATTRIBUTES = 1 << 27
    CACHED_METADATA = 1 << 36
    """MariaDB's, of which it has 32 more."""


class Cut(Exception):
    """A packet ends within one of its fields."""


class Reader:
    """Reads the fields of a packet in their order. Each method raises `Cut` where the packet ends before."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self.at = at

    def taken(self, size: int) -> bytes:
        """Return so many bytes."""
        end = self.at + size
        if end > len(self._data):
            raise Cut
        start, self.at = self.at, end
        return self._data[start:end]

    def number(self, size: int) -> int:
        """Return a number of so many bytes."""
        return int.from_bytes(self.taken(size), "little")

    def length(self) -> int:
        """Return a number that says its own length; NULL, which stands for no string, is 0."""
        first = self.number(1)
        if first < 0xFB:
            return first
        return self.number({0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0))

    def string(self) -> bytes:
        """Return bytes that say their length."""
        return self.taken(self.length())

    def name(self) -> bytes:
        """Return bytes up to the zero that ends them; the last one of a packet may lack it."""
        end = self._data.find(b"\0", self.at)
        if end < 0:
            return self.rest()
        start, self.at = self.at, end + 1
        return self._data[start:end]

    def rest(self) -> bytes:
        """Return what is left."""
        start, self.at = self.at, len(self._data)
        return self._data[start:]


class Greeting(NamedTuple):
    """What a server says first. What is behind the version is None where it is cut."""

    protocol: int
    version: bytes
    thread_id: int | None = None
    capabilities: int | None = None
    plugin: bytes | None = None


def greeting(payload: bytes) -> Greeting:
    """Return what a greeting says."""
    reader = Reader(payload, 1)
    found = Greeting(payload[0], reader.name())
    try:
        found = found._replace(thread_id=reader.number(4))
        reader.taken(9)
        capabilities = reader.number(2)
        found = found._replace(capabilities=capabilities)
        reader.taken(3)
        capabilities |= reader.number(2) << 16
        size = reader.number(1)
        reader.taken(6)
        more = reader.number(4)
        if not capabilities & Capability.MYSQL:
            capabilities |= more << 32
        found = found._replace(capabilities=capabilities)
        reader.taken(max(13, size - 8))
        return found._replace(plugin=reader.name() or None)
    except Cut:
        return found


class Login(NamedTuple):
    """Who a client says to be."""

    capabilities: int
    user: bytes = b""
    database: bytes | None = None
    plugin: bytes | None = None
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    whole: bool = True
    """False: it ends within one of its fields."""


def asks_for_tls(payload: bytes) -> bool:
    """Return whether a client's first packet says no more than that TLS follows."""
    bits = int.from_bytes(payload[:2], "little")
    return bool(bits & Capability.SSL) and len(payload) == (32 if bits & Capability.PROTOCOL_41 else 5)


def login(payload: bytes) -> Login:
    """Return what a login says."""
    found = Login(int.from_bytes(payload[:2], "little"))
    try:
        if not found.capabilities & Capability.PROTOCOL_41:
            reader = Reader(payload, 5)
            found = found._replace(user=reader.name())
            reader.name()
            of_database = found.capabilities & Capability.CONNECT_WITH_DB
            return found._replace(database=reader.name() or None) if of_database else found
        reader = Reader(payload)
        capabilities = reader.number(4)
        reader.taken(24)
        more = reader.number(4)
        if not capabilities & Capability.MYSQL:
            capabilities |= more << 32
        found = found._replace(capabilities=capabilities, user=reader.name())
        if capabilities & Capability.LENGTH_OF_LOGIN:
            reader.string()
        elif capabilities & Capability.SECURE_CONNECTION:
            reader.taken(reader.number(1))
        else:
            reader.name()
        if capabilities & Capability.CONNECT_WITH_DB:
            found = found._replace(database=reader.name() or None)
        return _with_plugin(found, reader)
    except Cut:
        return found._replace(whole=False)


def change_user(payload: bytes, capabilities: int) -> Login:
    """Return who a client wants to be from now on."""
    reader = Reader(payload, 1)
    found = Login(capabilities, reader.name())
    try:
        if capabilities & Capability.SECURE_CONNECTION:
            reader.taken(reader.number(1))
        else:
            reader.name()
        found = found._replace(database=reader.name() or None)
        if not reader.at < len(payload):
            return found
        reader.taken(2)
        return _with_plugin(found, reader)
    except Cut:
        return found._replace(whole=False)


def _with_plugin(found: Login, reader: Reader) -> Login:
    """Return a login with what follows the database."""
    if found.capabilities & Capability.PLUGIN_AUTH:
        found = found._replace(plugin=reader.name() or None)
    if not found.capabilities & Capability.CONNECT_ATTRS:
        return found
    end = reader.length() + reader.at
    pairs: list[tuple[bytes, bytes]] = []
    while reader.at < end and len(pairs) < MAX_ATTRIBUTES:
        pairs.append((reader.string(), reader.string()))
    return found._replace(attributes=tuple(pairs))


_SIZES = {0x01: 1, 0x02: 2, 0x03: 4, 0x04: 4, 0x05: 8, 0x08: 8}
"""By type of a value: its bytes; those of dates and times say their length in one, all others as strings do."""
_TIMES = frozenset({0x07, 0x0A, 0x0B, 0x0C})
_STRINGS = frozenset({0x0F, 0xF6, *range(0xF9, 0xFF)})
_ONE_SET = 1
"""Clients send the values of a query's attributes once."""


def texts_of_query(payload: bytes, capabilities: int) -> tuple[bytes, ...]:
    """Return the text of a query; where clients may send attributes with it (`Capability.QUERY_ATTRIBUTES`), what is
    behind them. Where they are cut, or more than `MAX_PARAMETERS`, all is returned as it was sent; where servers may
    read them in another way, both.
    """
    if not capabilities & Capability.QUERY_ATTRIBUTES:
        return (payload[1:],)
    reader = Reader(payload, 1)
    try:
        number, sets = reader.length(), reader.length()
        if number > MAX_PARAMETERS:
            return (payload[1:],)
        sure = reader.at == 3 and sets == _ONE_SET and payload[1] == number
        if number:
            sure = _pass_values(reader, number) and sure
        found = reader.rest()
        return (found,) if sure else (found, payload[1:])
    except Cut:
        return (payload[1:],)


def _pass_values(reader: Reader, number: int) -> bool:
    """Read up to behind the values of so many attributes; return whether it is sure how long they are."""
    nulls = int.from_bytes(reader.taken((number + 7) // 8), "little")
    if reader.number(1) != 1:
        return False
    types: list[int] = []
    for _ in range(number):
        types.append(reader.number(2) & 0xFF)
        reader.string()
    sure = True
    for at, kind in enumerate(types):
        if nulls >> at & 1:
            continue
        if kind in _SIZES:
            reader.taken(_SIZES[kind])
        elif kind in _TIMES:
            reader.taken(reader.number(1))
        else:
            sure = sure and kind in _STRINGS
            reader.string()
    return sure
