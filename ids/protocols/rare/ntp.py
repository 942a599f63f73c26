"""NTP over UDP (RFC 5905): each message is a transaction. Its form says too little to know it on any port."""

from __future__ import annotations

from ids.protocols.dialogue import Dialogue, DialogueSettings, speaking
from ids.protocols.framing import Message
from ids.protocols.protocol import Buffer, Protocol
from ids.types import Direction

_HEAD = 48
"""Bytes of a message of symmetric, client, server or broadcast mode."""
_CONTROL, _PRIVATE = 6, 7
_SHORT = {_CONTROL: 12, _PRIVATE: 8}
"""Bytes of the head of other modes: of ``ntpq`` (RFC 9327), of ``ntpdc``, whose ``monlist`` floods are made of."""


def is_ntp(data: bytes) -> bool:
    """Return whether a datagram at NTP's port is a message: a version and a mode that there are, and its head."""
    if not data:
        return False
    version, mode = data[0] >> 3 & 7, data[0] & 7
    return 1 <= version <= 4 and mode > 0 and len(data) >= _SHORT.get(mode, _HEAD)


class NtpFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "ntp"

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message."""
        data = message.data
        if not is_ntp(data):
            self.count("malformed")
            self.say(direction, {}, {}, self.new(), complete=False, odd=("malformed_data",))
            return
        version, mode = data[0] >> 3 & 7, data[0] & 7
        said: dict[str, bytes | tuple[bytes, ...] | None] = {"ntp.version": b"%d" % version, "ntp.mode": b"%d" % mode}
        fields: dict[str, int | str] = {"version": version, "mode": mode}
        if mode not in _SHORT:
            fields["stratum"], fields["reference_id"] = data[1], data[12:16].hex(":")
            said["ntp.stratum"], said["ntp.reference_id"] = b"%d" % data[1], data[12:16]
        elif mode == _PRIVATE:
            said["ntp.request_code"] = b"%d" % data[3]
        self.say(direction, said, fields, self.new())


PROTOCOL = Protocol(
    name="ntp",
    usual_ports=frozenset({123}),
    datagram=is_ntp,
    home_ports=frozenset({123}),
    settings=DialogueSettings,
    datagrams=speaking(NtpFlow),
    oddities=("malformed_data",),
    event="ntp",
    buffers=(
        Buffer("ntp.version", "ntp", None, "version, decimal"),
        Buffer("ntp.mode", "ntp", None, "mode, decimal: 3 is a client, 7 is private"),
        Buffer("ntp.stratum", "ntp", None, "distance from the clock that all follow, decimal"),
        Buffer("ntp.reference_id", "ntp", None, "what the sender follows, 4 bytes"),
        Buffer("ntp.request_code", "ntp", None, "what is asked in mode 7, decimal: 42 is `monlist`"),
    ),
)
