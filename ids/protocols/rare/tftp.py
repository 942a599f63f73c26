"""TFTP (RFC 1350): requests for files. The file itself goes from another port, in a flow of its own."""

from __future__ import annotations

from ids.later import late_pattern
from ids.protocols.dialogue import Dialogue, DialogueSettings, speaking
from ids.protocols.framing import Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.spelling import text
from ids.types import Direction

_REQUEST = late_pattern(rb"(?s)\x00([\x01\x02])([^\x00]{1,512})\x00((?i:netascii|octet|mail))\x00")
_OPCODES = {1: "read", 2: "write", 3: "data", 4: "ack", 5: "error"}


def is_tftp(data: bytes) -> bool:
    """Return whether a datagram asks for a file, or brings one."""
    return _REQUEST.match(data) is not None


class TftpFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "tftp"

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message; those behind a request say nothing that is logged."""
        found = _REQUEST.match(message.data)
        if found is None:
            return
        what, name, mode = _OPCODES[found[1][0]], found[2], found[3]
        said = {"tftp.opcode": what.encode(), "tftp.file": name, "tftp.mode": mode}
        self.say(direction, said, {"packet": what, "file": text(name), "mode": text(mode)}, self.new())


PROTOCOL = Protocol(
    name="tftp",
    usual_ports=frozenset({69}),
    usual_starts={69: frozenset({0})},
    datagram=is_tftp,
    settings=DialogueSettings,
    datagrams=speaking(TftpFlow),
    event="tftp",
    buffers=(
        Buffer("tftp.opcode", "tftp", None, "`read` or `write`"),
        Buffer("tftp.file", "tftp", None, "name of the file"),
        Buffer("tftp.mode", "tftp", None, "mode of the transfer: `octet`"),
    ),
)
