"""A line of Telnet that has not ended, in every form in which its receiver may read it.

Who types may erase, and leave in what terminals drop: a terminal hands on what is left. Not all agree on what that is.
The commands of Telnet that erase do so in some servers, and are passed over in others (busybox); a word that is erased
ends at a blank in a shell that edits lines itself, and at any sign in a terminal. Where that makes a difference, both
forms are kept.

COST. O(bytes), four forms at most.
"""

from __future__ import annotations

from ids.later import late_pattern

ERASE, KILL = 0x7F, 0x15
"""A character, and the line."""
_BACKSPACE, _NEXT, _WORD = 0x08, 0x16, 0x17
TAIL_BYTES = 256
"""Of a piece of a long line that come again in the next one, lest it cuts a word apart."""
_KEYS = late_pattern(rb"[\x08\x7f]+|[\x00\x11-\x13]+|\x15|\x16|\x17")
"""What edits a line. Of it, zeros and what stops, goes on and shows it again leave nothing in it."""


class _Form:
    """What is left of a line, as some receivers read it."""

    __slots__ = ("by_blank", "kept", "obeys", "quoted")

    def __init__(self, kept: bytearray) -> None:
        self.kept = kept
        self.obeys: bool | None = None
        """Commands of Telnet erase; None while both is the same."""
        self.by_blank: bool | None = None
        """A word ends at a blank; None while both is the same."""
        self.quoted = False
        """The next byte is meant as it is."""

    def copy(self) -> _Form:
        """Return another one that goes on from here."""
        other = _Form(self.kept[:])
        other.obeys, other.by_blank, other.quoted = self.obeys, self.by_blank, self.quoted
        return other

    def press(self, keys: bytes) -> None:
        """Take keys of a kind that edit; none of them erases a word."""
        if self.quoted:
            self.quoted = False
            self.kept += keys[:1].strip(b"\0")
            keys = keys[1:]
        if keys[:1] in (b"\x08", b"\x7f"):
            del self.kept[max(len(self.kept) - len(keys), 0) :]
        elif keys[:1] == bytes((KILL,)):
            self.kept.clear()
        elif keys[:1] == bytes((_NEXT,)):
            self.quoted = True


def _last_word(kept: bytearray, *, by_blank: bool) -> int:
    """Return where the last word begins, with what is behind it."""
    at = len(kept)
    within = False
    while at:
        byte = kept[at - 1]
        of_word = byte not in b" \t" if by_blank else byte == 0x5F or (byte < 0x80 and chr(byte).isalnum())
        if within and not of_word:
            break
        within = within or of_word
        at -= 1
    return at


class Line:
    """A line, as far as it came."""

    __slots__ = ("_edits", "_forms", "_limit", "_sent", "_tail")

    def __init__(self, limit: int, *, edits: bool) -> None:
        """What is longer than ``limit`` bytes, erased ones apart, comes in pieces. ``edits``: it is typed."""
        self._limit = limit
        self._tail = min(TAIL_BYTES, limit // 4)
        self._edits = edits
        self._sent = bytearray()
        self._forms: list[_Form] = []
        """Empty while nothing was edited."""

    def __len__(self) -> int:
        """How many bytes it holds."""
        return len(self._sent) + sum([len(form.kept) for form in self._forms])

    def copy(self) -> Line:
        """Return another one that goes on from here."""
        other = Line(self._limit, edits=self._edits)
        other._sent = self._sent[:]
        other._forms = [form.copy() for form in self._forms]
        return other

    def add(self, text: bytes) -> list[bytes]:
        """Add text; return the pieces that are full."""
        full: list[bytes] = []
        if self._edits and (self._forms or _KEYS.search(text)):
            self._edit(text, full)
        self._append(self._sent, text, full)
        return list(dict.fromkeys(full)) if self._forms else full

    def command(self, key: int) -> None:
        """Take a command that erases, as that key does."""
        if not self._edits:
            return
        for form in self._edited():
            if form.obeys is None:
                other = form.copy()
                form.obeys, other.obeys = True, False
                self._forms.append(other)
            if form.obeys:
                form.quoted = False
                form.press(bytes((key,)))

    def take(self) -> list[bytes]:
        """Return its forms, that as sent last, and begin another line."""
        forms = list(dict.fromkeys([*[bytes(form.kept) for form in self._forms], bytes(self._sent)]))
        self._sent.clear()
        self._forms = []
        return forms

    def _edited(self) -> list[_Form]:
        if not self._forms:
            self._forms.append(_Form(self._sent[:]))
        return self._forms[:]

    def _edit(self, text: bytes, full: list[bytes]) -> None:
        """Add text that edits."""
        self._edited()
        at = 0
        for keys in _KEYS.finditer(text):
            self._type(text[at : keys.start()], full)
            at = keys.end()
            if keys[0] == bytes((_WORD,)):
                self._erase_word()
            else:
                for form in self._forms:
                    form.press(keys[0])
        self._type(text[at:], full)

    def _type(self, text: bytes, full: list[bytes]) -> None:
        """Add text in which nothing edits to all forms."""
        if text:
            for form in self._forms:
                form.quoted = False
                self._append(form.kept, text, full)

    def _erase_word(self) -> None:
        for form in self._forms[:]:
            if form.quoted:
                form.press(bytes((_WORD,)))
                continue
            if form.by_blank is None:
                self._part_ways(form)
            del form.kept[_last_word(form.kept, by_blank=form.by_blank is not False) :]

    def _part_ways(self, form: _Form) -> None:
        """Keep both forms where it matters what a word is. Afterwards only one way is asked for: to scan costs time."""
        sign = _last_word(form.kept, by_blank=False)
        if _last_word(form.kept, by_blank=True) != sign:
            other = form.copy()
            form.by_blank, other.by_blank = True, False
            del other.kept[sign:]
            self._forms.append(other)

    def _append(self, held: bytearray, text: bytes, full: list[bytes]) -> None:
        at = 0
        while len(held) + len(text) - at > self._limit:
            room = self._limit - len(held)
            held += text[at : at + room]
            at += room
            full.append(bytes(held))
            del held[: -self._tail]
        held += text[at:]
