"""Names of a DNS message: labels and pointers (RFC 1035 section 4.1.4), read within bounds.

dnspython reads names too, and refuses a message for the first one that it finds wrong: what a resolver still answers
would go unseen. A name is therefore read here, as far as it goes.
"""

from __future__ import annotations

MAX_NAME = 1025
"""Bytes of a name in its printable form; the rest is cut off. The RFC allows 255, resolvers in use (dnsmasq) 1025."""
MAX_LABELS = 255
"""Labels and pointers of one name: a name with more goes in circles."""
MAX_STEPS = 16_384
"""Labels and pointers that are followed in one message: five for each of its records, and three times as many. Without
it, 64 KiB of pointers to long names would cost a third of a second."""


class Malformed(ValueError):
    """What cannot be read as DNS."""


class Names:
    """The names of one message."""

    __slots__ = ("_data", "_known", "_steps", "odd")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._known: dict[int, bytes] = {}
        """By offset: names at which pointers pointed."""
        self._steps = 0
        self.odd: set[bytes] = set()
        """What was odd about names, by Suricata's names for it."""

    def read(self, at: int) -> tuple[bytes, int]:
        """Return the name that begins at an offset, and where it ends.

        Bytes of labels are as sent, with dots between them and none behind the last. Raise `Malformed` where there is
        no end to it.
        """
        data, size = self._data, len(self._data)
        labels: list[bytes] = []
        targets: list[tuple[int, int]] = []
        end = steps = 0
        while True:
            if at >= size:
                raise Malformed("a name runs over the end")
            head = data[at]
            if not head:
                end = end or at + 1
                break
            steps += 1
            if steps > MAX_LABELS:
                self.odd.add(b"dns.too_many_labels")
                if not end or not labels:
                    raise Malformed("too many labels, or pointers in a circle")
                targets.clear()  # a circle: what was read of it is the name
                break
            if head < 0x40:
                at += 1 + head
                if at > size:
                    raise Malformed("a label runs over the end")
                labels.append(data[at - head : at])
            elif head >= 0xC0 and at + 1 < size:
                target = (head & 0x3F) << 8 | data[at + 1]
                if target == at:
                    self.odd.add(b"dns.infinite_loop")
                end = end or at + 2
                known = self._known.get(target)
                if known is not None:
                    if known:
                        labels.append(known)
                    break
                targets.append((target, len(labels)))
                at = target
            else:
                raise Malformed("neither a label nor a pointer")
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise Malformed("too many pointers")
        for target, behind in targets:
            self._known[target] = b".".join(labels[behind:])[:MAX_NAME]
        name = b".".join(labels)
        if len(name) > MAX_NAME:
            self.odd.add(b"dns.name_too_long")
        return name[:MAX_NAME], end
