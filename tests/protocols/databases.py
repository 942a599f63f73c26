"""Sessions of MySQL and Redis, made by hand for tests."""

from __future__ import annotations

from struct import pack

from ids.protocols.rare.mysql_packets import Capability as Can
from tests.protocols.said import CLIENT, SERVER

# MySQL

ORDINARY = (
    Can.MYSQL | Can.PROTOCOL_41 | Can.SECURE_CONNECTION | Can.PLUGIN_AUTH | Can.CONNECT_ATTRS | Can.CONNECT_WITH_DB
    | Can.SSL | Can.LENGTH_OF_LOGIN | Can.SESSION_TRACK
)  # fmt: skip
"""What both sides can do, in the old form: ends of columns are marked."""
NEWER = ORDINARY | Can.DEPRECATE_EOF
MORE_RESULTS, CURSOR = 8, 0x40


def packet(payload: bytes, number: int = 0) -> bytes:
    """Return a packet of MySQL."""
    return pack("<I", len(payload))[:3] + bytes((number,)) + payload


def packets(*payloads: bytes, first: int = 1) -> bytes:
    """Return packets with numbers in a row, as those of a reply."""
    return b"".join([packet(payload, number & 0xFF) for number, payload in enumerate(payloads, first)])


def string(content: bytes) -> bytes:
    """Return bytes behind their length."""
    return (bytes((len(content),)) if len(content) < 251 else b"\xfc" + pack("<H", len(content))) + content


def greeted(can: int = NEWER, version: bytes = b"8.0.36", plugin: bytes = b"caching_sha2_password") -> bytes:
    """Return the greeting of a server."""
    low, high, more = can & 0xFFFF, can >> 16 & 0xFFFF, can >> 32
    return packet(
        b"\x0a" + version + b"\0" + pack("<I", 11) + b"abcdefgh\0" + pack("<HBHHB", low, 0xFF, 2, high, 21)
        + bytes(6) + pack("<I", more) + b"ijklmnopqrst\0" + plugin + b"\0"
    )  # fmt: skip


def logged_in(can: int = NEWER, number: int = 1, user: bytes = b"alice") -> bytes:
    """Return the login of a client."""
    attributes = string(b"_client_name") + string(b"libmysql") + string(b"_os") + string(b"Linux")
    return packet(
        pack("<IIB", can & 0xFFFFFFFF, 1 << 24, 255) + bytes(19) + pack("<I", can >> 32) + user + b"\0"
        + string(b"h" * 32) + b"shop\0caching_sha2_password\0" + string(attributes), number,
    )  # fmt: skip


def tls_asked(can: int = NEWER) -> bytes:
    """Return what a client says before its login, to go on in TLS."""
    return packet(pack("<IIB", can & 0xFFFFFFFF, 1 << 24, 255) + bytes(23), 1)


def fine(affected: int = 0, status: int = 2, message: bytes = b"", head: int = 0) -> bytes:
    """Return what says that all went well, where sessions are tracked."""
    return bytes((head, affected, 0)) + pack("<HH", status, 0) + (string(message) if message else b"")


def ended(status: int = 2) -> bytes:
    """Return the mark of an end, in the old form."""
    return b"\xfe" + pack("<HH", 0, status)


def wrong(code: int, state: bytes, message: bytes) -> bytes:
    """Return an error."""
    return b"\xff" + pack("<H", code) + b"#" + state + message


COLUMN = string(b"def") + string(b"shop") + string(b"t") * 4 + b"\x0c" + bytes(12)


def rows(*of: bytes, columns: int = 1, old: bool = False, status: int = 2) -> tuple[bytes, ...]:
    """Return the payloads of a result set whose rows have one value each."""
    mark = (ended(),) if old else ()
    last = ended(status) if old else fine(status=status, head=0xFE)
    return (bytes((columns,)), *[COLUMN] * columns, *mark, *map(string, of), last)


def asked(number: int, body: bytes = b"") -> bytes:
    """Return a command."""
    return packet(bytes((number,)) + body)


LOGIN = (
    (SERVER, greeted()), (CLIENT, logged_in()), (SERVER, packet(b"\x01\x03", 2) + packet(fine(), 3)),
)  # fmt: skip
OLD_LOGIN = ((SERVER, greeted(ORDINARY)), (CLIENT, logged_in(ORDINARY)), (SERVER, packet(fine(), 2)))
PREPARED = b"\0" + pack("<IHHBH", 7, 1, 2, 0, 0)
MYSQL = (
    *LOGIN,
    (CLIENT, asked(3, b"SELECT name FROM users")), (SERVER, packets(*rows(b"alice", b"bob"))),
    (CLIENT, asked(3, b"SELECT nope")), (SERVER, packets(wrong(1054, b"42S22", b"Unknown column 'nope'"))),
    (CLIENT, asked(3, b"DELETE FROM users")), (SERVER, packets(fine(2, message=b"gone"))),
    (CLIENT, asked(3, b"CALL two()")),
    (SERVER, packets(*rows(b"1", status=MORE_RESULTS), *rows(b"2", b"3", columns=2, status=MORE_RESULTS), fine())),
    (CLIENT, asked(2, b"news")), (SERVER, packets(fine())),
    (CLIENT, asked(0x16, b"SELECT ? + ?")), (SERVER, packets(PREPARED, COLUMN, COLUMN, COLUMN)),
    (CLIENT, asked(0x17, pack("<IBI", 7, 0, 1) + bytes(9))), (SERVER, packets(*rows(b"3"))),
    (CLIENT, asked(0x19, pack("<I", 7)) + asked(0x0E)), (SERVER, packets(fine())),
    (CLIENT, asked(3, b"LOAD DATA LOCAL INFILE 'x'")), (SERVER, packet(b"\xfb/etc/passwd", 1)),
    (CLIENT, packet(b"root:x\n", 2) + packet(b"", 3)), (SERVER, packet(fine(1), 4)),
    (CLIENT, asked(1)),
)  # fmt: skip
MYSQL_OLD = (
    *OLD_LOGIN,
    (CLIENT, asked(3, b"SELECT name FROM users")), (SERVER, packets(*rows(b"alice", b"bob", old=True))),
    (CLIENT, asked(0x16, b"SELECT ? + ?")), (SERVER, packets(PREPARED, COLUMN, COLUMN, ended(), COLUMN, ended())),
    (CLIENT, asked(0x17, pack("<IBI", 7, 1, 1))), (SERVER, packets(b"\1", COLUMN, ended(CURSOR))),
    (CLIENT, asked(0x1C, pack("<II", 7, 10))), (SERVER, packets(b"\0\0\1", b"\0\0\2", ended())),
    (CLIENT, asked(4, b"t\0%")), (SERVER, packets(COLUMN, COLUMN, ended())),
    (CLIENT, asked(9)), (SERVER, packets(b"Uptime: 4")),
    (CLIENT, asked(0x11, b"bob\0\x01hnews\0\xff\0mysql_native_password\0\0")),
    (SERVER, packet(b"\xfemysql_clear_password\0", 1)), (CLIENT, packet(b"secret\0", 2)),
    (SERVER, packet(wrong(1045, b"28000", b"Access denied"), 3)),
)  # fmt: skip
_QUERIED = (
    b"\x02\x01\0\x01\xfe\0" + string(b"a") + b"\x08\0" + string(b"b") + string(b"x") + bytes(8) + b"SELECT 1"
)  # fmt: skip
ATTRIBUTES = NEWER | Can.QUERY_ATTRIBUTES | Can.OPTIONAL_METADATA
MARIADB = (NEWER | Can.CACHED_METADATA) & ~Can.MYSQL
MYSQL_OTHERS = (
    (
        (SERVER, greeted(ATTRIBUTES)), (CLIENT, logged_in(ATTRIBUTES)), (SERVER, packet(fine(), 2)),
        (CLIENT, asked(3, _QUERIED)), (SERVER, packets(b"\0\1", string(b"1"), fine(head=0xFE))),
    ),
    (
        (SERVER, greeted(MARIADB, b"5.5.5-10.11.4-MariaDB")), (CLIENT, logged_in(MARIADB)), (SERVER, packet(fine(), 2)),
        (CLIENT, asked(0x17, bytes(9))), (SERVER, packets(b"\1\0", string(b"1"), fine(head=0xFE))),
        (CLIENT, asked(3, b"ALTER")), (SERVER, packets(b"\xff\xff\xff\1\2\3\0\0\0\4copy", fine())),
    ),
    (
        (SERVER, greeted(0x8)), (CLIENT, packet(b"\x08\0\0\0\1alice\0hash\0shop\0", 1)), (SERVER, packet(fine(), 2)),
        (CLIENT, asked(0x12, bytes(10))), (SERVER, packets(b"\0" * 9)), (CLIENT, asked(0x77)),
    ),
    ((SERVER, packet(b"\xff\x6a\x04Host 'a' is not allowed")),),
)  # fmt: skip
"""With attributes of a query, of MariaDB, of an old client, and of a client that is refused."""

# Redis


def words(*of: bytes) -> bytes:
    """Return a command, or a reply of several strings."""
    return b"*%d\r\n" % len(of) + b"".join([b"$%d\r\n%s\r\n" % (len(word), word) for word in of])


REDIS = (
    (CLIENT, words(b"AUTH", b"bob", b"secret")), (SERVER, b"+OK\r\n"),
    (CLIENT, words(b"config", b"set", b"dir", b"/var/spool/cron")), (SERVER, b"-ERR no such directory\r\n"),
    (CLIENT, words(b"SET", b"a", b"1\r\n2") + words(b"GET", b"a") + b"incr \"\\x6e\"\r\n"),
    (SERVER, b"+OK\r\n$4\r\n1\r\n2\r\n:1\r\n"),
    (CLIENT, words(b"LRANGE", b"l", b"0", b"-1")), (SERVER, b"*3\r\n$1\r\nx\r\n*2\r\n:1\r\n$-1\r\n$0\r\n\r\n"),
    (CLIENT, words(b"GET", b"none")), (SERVER, b"$-1\r\n"),
    (CLIENT, words(b"HELLO", b"3")), (SERVER, b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n+proto\r\n:3\r\n"),
    (CLIENT, words(b"SMEMBERS", b"s")),
    (SERVER, b"|1\r\n+ttl\r\n*1\r\n:9\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n~2\r\n,1.5\r\n#t\r\n"),
    (CLIENT, words(b"SUBSCRIBE", b"c", b"d") + words(b"PING")),
    (SERVER, b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:2\r\n>3\r\n+message\r\n"
             b"+c\r\n+x\r\n+PONG\r\n"),
    (CLIENT, words(b"QUIT")), (SERVER, b"+OK\r\n"),
)  # fmt: skip
REDIS_INLINE = (
    (CLIENT, b"CONFIG GET dir\r\n"), (SERVER, words(b"dir", b"/")), (CLIENT, b"MONITOR\n"), (SERVER, b"+OK\r\n"),
    (SERVER, b'+1339518083.107412 [0 192.0.2.1:60866] "keys" "*"\r\n'), (CLIENT, b"RESET\n"), (SERVER, b"+RESET\r\n"),
    (CLIENT, words(b"PSYNC", b"?", b"-1")), (SERVER, b"+FULLRESYNC abc 0\r\n$5\r\nREDIS"),
    (CLIENT, words(b"PING")),
)  # fmt: skip
