"""One DNS message: its header and questions at once, its records when something asks for them."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from ids.counters import Counters
from ids.protocols.dns.names import Malformed, Names
from ids.protocols.dns.starts import HEADER

QR, AA, TC, RD, RA, Z = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040
"""Bits of the header's flags."""

_HEADER = Struct(">6H").unpack_from
_RECORD = Struct(">HHIH").unpack_from
_RECORD_BYTES = 10
"""Type, class, time to live and length: what a record has between its name and its data."""


class Question(NamedTuple):
    """What is asked."""

    name: bytes
    rrtype: int
    rrclass: int


class Record(NamedTuple):
    """A resource record; its data lies in the message."""

    name: bytes
    rrtype: int
    rrclass: int
    ttl: int
    start: int
    end: int


Sections = tuple[list[Record], list[Record], list[Record]]


class Message:
    """A message whose header could be read."""

    __slots__ = (
        "_behind", "_counters", "_counts", "_limit", "_sections", "data", "flags", "id", "malformed", "names",
        "questions",
    )  # fmt: skip

    def __init__(self, data: bytes, limit: int, counters: Counters) -> None:
        """Read header and questions, no more than ``limit`` of them and of the records together; count what is wrong.

        Raise `Malformed` where there is no header, or none of the questions that it announces can be read.
        """
        if len(data) < HEADER:
            raise Malformed("no header")
        self.data = data
        self.names = Names(data)
        header: tuple[int, ...] = _HEADER(data)
        self.id, self.flags, asked = header[:3]
        self._counts = header[3:]
        self._limit = limit
        self._counters = counters
        self._sections: Sections | None = None
        self.malformed = False
        """A part of it cannot be read, as far as is known: of its records that is known once they were read."""
        self.questions: list[Question] = []
        self._behind: int | None = HEADER
        """Where the records begin; None where the questions cannot be read to their end."""
        if asked:
            self._read_questions(asked)

    @property
    def opcode(self) -> int:
        """The kind of query (RFC 1035 section 4.1.1)."""
        return self.flags >> 11 & 0xF

    @property
    def rcode(self) -> int:
        """The response code, without the bits that EDNS adds."""
        return self.flags & 0xF

    @property
    def sections(self) -> Sections:
        """The records of the answer, authority and additional section, as far as they can be read."""
        if self._sections is None:
            self._sections = [], [], []
            if self._behind is not None:
                try:
                    self._read_records(self._behind, self._sections)
                except Malformed:
                    self.malformed = True
                    self._counters.add("dns.malformed_records")
        return self._sections

    def _read_questions(self, asked: int) -> None:
        data, at = self.data, HEADER
        try:
            for _ in range(min(asked, self._limit)):
                name, at = self.names.read(at)
                if at + 4 > len(data):
                    raise Malformed("a question runs over the end")
                self.questions.append(Question(name, data[at] << 8 | data[at + 1], data[at + 2] << 8 | data[at + 3]))
                at += 4
        except Malformed:
            if not self.questions:
                raise
            self._counters.add("dns.malformed")
            self.malformed = True
            self._behind = None
            return
        self._behind = at
        if asked > self._limit:
            self._counters.add("dns.too_many_records")
            self._behind = None

    def _read_records(self, at: int, sections: Sections) -> None:
        data, read, left = self.data, self.names.read, self._limit - len(self.questions)
        for section, count in zip(sections, self._counts, strict=True):
            if count > left:
                self._counters.add("dns.too_many_records")
            for _ in range(min(count, left)):
                name, at = read(at)
                start = at + _RECORD_BYTES
                if start > len(data):
                    raise Malformed("a record runs over the end")
                rrtype, rrclass, ttl, size = _RECORD(data, at)
                at = start + size
                if at > len(data):
                    raise Malformed("the data of a record runs over the end")
                section.append(Record(name, rrtype, rrclass, ttl, start, at))
            left -= count
            if left < 0:
                return
