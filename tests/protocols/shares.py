"""Messages of SMB made by hand, for tests: every byte of them can be wrong."""

from __future__ import annotations

from struct import pack

NEGOTIATE, SETUP, LOGOFF, CONNECT, DISCONNECT, CREATE, CLOSE = range(7)
READ, WRITE, IOCTL, SET_INFO = 8, 9, 11, 17
SUCCESS, PENDING, MORE, OVERFLOW, DENIED, END = 0, 0x103, 0xC0000016, 0x80000005, 0xC0000022, 0xC0000011
SAME = b"\xff" * 16
FILE = b"\x11\0\0\0\0\0\0\0\x22\0\0\0\0\0\0\0"
GUID = bytes(range(16))
TRANSCEIVE = 0x0011C017


def netbios(message: bytes, kind: int = 0) -> bytes:
    """Return a message behind its length."""
    return bytes((kind,)) + len(message).to_bytes(3, "big") + message


def second(
    command: int, body: bytes, *, answer: bool = False, status: int = 0, message_id: int = 1, tree: int = 5,
    session: int = 7, related: bool = False, following: int = 0,
) -> bytes:  # fmt: skip
    """Return a message of SMB 2, without its length."""
    flags = int(answer) | related << 2
    head = pack("<4sHHIHHIIQIIQ", b"\xfeSMB", 64, 1, status, command, 1, flags, following, message_id, 0, tree, session)
    return head + bytes(16) + body


def compound(*messages: bytes) -> bytes:
    """Return messages of SMB 2 behind one another."""
    padded = [message + bytes(-len(message) % 8) for message in messages[:-1]]
    linked = [message[:20] + len(message).to_bytes(4, "little") + message[24:] for message in padded]
    return b"".join([*linked, *messages[-1:]])


def utf16(text: str) -> bytes:
    """Return a name as it is sent."""
    return text.encode("utf-16-le")


def negotiate(*dialects: int) -> bytes:
    """Return the body of an offer."""
    return pack("<HHHHI16sQ", 36, len(dialects), 1, 0, 0, GUID, 0) + b"".join(pack("<H", one) for one in dialects)


def negotiated(dialect: int, most: int = 0x100000) -> bytes:
    """Return the body of the answer to it."""
    return pack("<HHHH16sIIIIQQHHI", 65, 1, dialect, 0, GUID, 0, most, most, most, 0, 0, 128, 0, 0)


def setup(token: bytes) -> bytes:
    """Return the body of a session setup."""
    return pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, len(token), 0) + token


def was_set_up(token: bytes = b"") -> bytes:
    """Return the body of the answer to it."""
    return pack("<HHHH", 9, 0, 72, len(token)) + token


def connect(path: str) -> bytes:
    """Return the body of a tree connect."""
    raw = utf16(path)
    return pack("<HHHH", 9, 0, 72, len(raw)) + raw


def connected(kind: int) -> bytes:
    """Return the body of the answer to it."""
    return pack("<HBBIII", 16, kind, 0, 0, 0, 0)


def create(name: str, disposition: int = 1, options: int = 0) -> bytes:
    """Return the body of an opening."""
    raw = utf16(name)
    head = pack("<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, 0, 0, 0, disposition, options, 120, len(raw), 0, 0)
    return head + raw


def created(file_id: bytes = FILE, size: int = 0, time: int = 0) -> bytes:
    """Return the body of the answer to it."""
    return pack("<HBBIQQQQQQII16sII", 89, 0, 0, 1, time, time, time, time, 0, size, 0, 0, file_id, 0, 0)


def close(file_id: bytes = FILE) -> bytes:
    """Return the body of a closing."""
    return pack("<HHI16s", 24, 0, 0, file_id)


def read(offset: int, size: int, file_id: bytes = FILE) -> bytes:
    """Return the body of a read."""
    return pack("<HBBIQ16sIIIHH", 49, 0, 0, size, offset, file_id, 0, 0, 0, 0, 0)


def was_read(data: bytes) -> bytes:
    """Return the body of the answer to it."""
    return pack("<HBBIII", 17, 80, 0, len(data), 0, 0) + data


def write(offset: int, data: bytes, file_id: bytes = FILE) -> bytes:
    """Return the body of a write."""
    return pack("<HHIQ16sIIHHI", 49, 112, len(data), offset, file_id, 0, 0, 0, 0, 0) + data


def was_written(size: int) -> bytes:
    """Return the body of the answer to it."""
    return pack("<HHIIHH", 17, 0, size, 0, 0, 0)


def control(function: int, data: bytes, file_id: bytes = FILE) -> bytes:
    """Return the body of a control."""
    return pack("<HHI16sIIIIIIII", 57, 0, function, file_id, 120, len(data), 0, 0, 0, 4096, 1, 0) + data


def controlled(function: int, data: bytes, file_id: bytes = FILE) -> bytes:
    """Return the body of the answer to it."""
    return pack("<HHI16sIIIIII", 49, 0, function, file_id, 112, 0, 112, len(data), 0, 0) + data


def set_info(level: int, data: bytes, file_id: bytes = FILE) -> bytes:
    """Return the body of what changes a file."""
    return pack("<HBBIHHI16s", 33, 1, level, len(data), 96, 0, 0, file_id) + data


def renamed(name: str) -> bytes:
    """Return what gives a file another name."""
    raw = utf16(name)
    return pack("<B7xQI", 0, 0, len(raw)) + raw


def logon(user: str, domain: str, host: str = "WS") -> bytes:
    """Return who logs on by NTLM."""
    parts, at, fields = b"", 72, b""
    for text in (domain, user, host):
        raw = utf16(text)
        fields += pack("<HHI", len(raw), len(raw), at + len(parts))
        parts += raw
    empty = pack("<HHI", 0, 0, 72)
    version = bytes((10, 0)) + pack("<H", 19041) + bytes((0, 0, 0, 15))
    return b"NTLMSSP\0" + pack("<I", 3) + empty * 2 + fields + empty + pack("<I", 0x02000001) + version + parts


def first(
    command: int, words: bytes, data: bytes, *, answer: bool = False, status: int = 0, multiplex: int = 1,
    tree: int = 5, user: int = 7, unicode: bool = True, nt_status: bool = True, count: int | None = None,
) -> bytes:  # fmt: skip
    """Return a message of SMB 1, without its length."""
    flags = (0x8000 if unicode else 0) | (0x4000 if nt_status else 0)
    head = pack(
        "<4sBIBHH8sHHHHH", b"\xffSMB", command, status, answer << 7, flags, 0, bytes(8), 0, tree, 99, user, multiplex
    )
    return head + bytes((len(words) // 2,)) + words + pack("<H", len(data) if count is None else count) + data


ALONE = b"\xff\0\0\0"
"""Nothing follows, at the beginning of the words."""


def create1(name: str) -> bytes:
    """Return an opening of SMB 1."""
    raw = utf16(name)
    words = ALONE + pack("<BHIIIQIIIIIB", 0, len(raw), 0, 0, 0, 0, 0, 0, 1, 0, 2, 0)
    return first(0xA2, words, b"\0" + raw + b"\0\0")


def created1(fid: int, size: int = 0) -> bytes:
    """Return the answer to it."""
    words = ALONE + pack("<BHIQQQQIQQHHB", 0, fid, 1, 0, 0, 0, 0, 0, size, size, 0, 0, 0) + b"\0"
    return first(0xA2, words[:68], b"", answer=True)


def write1(fid: int, offset: int, data: bytes, multiplex: int = 1) -> bytes:
    """Return a write of SMB 1."""
    words = ALONE + pack("<HIIHHHHHI", fid, offset, 0, 0, 0, 0, len(data), 64, 0)
    return first(0x2F, words, b"\0" + data, multiplex=multiplex)


def read1(fid: int, offset: int, size: int) -> bytes:
    """Return a read of SMB 1."""
    return first(0x2E, ALONE + pack("<HIHHIHI", fid, offset, size, size, 0, 0, 0), b"")


def was_read1(data: bytes) -> bytes:
    """Return the answer to it."""
    words = ALONE + pack("<HHHHHHHHH", 0, 0, 0, len(data), 60, 0, 0, 0, 0) + b"\0\0"
    return first(0x2E, words[:24], b"\0" + data, answer=True)


def transact(fid: int, data: bytes) -> bytes:
    """Return a transaction with a pipe."""
    name = b"\0" + utf16("\\PIPE\\\0")
    at = 32 + 1 + 32 + 2 + len(name)
    words = pack("<HHHHBBHIHHHHHBBHH", 0, len(data), 0, 1024, 0, 0, 0, 0, 0, 0, at, len(data), at, 2, 0, 0x26, fid)
    return first(0x25, words, name + data)


def transacted(data: bytes) -> bytes:
    """Return the answer to it."""
    words = pack("<HHHHHHHHHBB", 0, len(data), 0, 0, 56, 0, len(data), 56, 0, 0, 0)
    return first(0x25, words, b"\0" + data, answer=True)
