"""Conversations of the second line of protocols, made by hand: what few captures have."""

from __future__ import annotations

from tests.fuzz.seeds import Conversation
from tests.protocols import exports, said
from tests.protocols.initials import HELLO, chlo, crypto, initial


def _turns(*messages: bytes) -> tuple[tuple[int, bytes], ...]:
    """Return messages of both sides, in turns."""
    return tuple([(at & 1, data) for at, data in enumerate(messages)])


SECOND_LINE = (
    Conversation(True, _turns(said.SNMP_GET, said.SNMP_GET, said.SNMP_TRAP, said.snmp3(0), said.snmp3(3))),
    Conversation(True, _turns(said.DHCP_DISCOVER, said.DHCP_ACK)),
    Conversation(True, _turns(said.SIP_INVITE, said.SIP_RINGING)),
    Conversation(False, _turns(said.SIP_INVITE * 2, said.SIP_RINGING)),
    Conversation(True, _turns(said.IKE1, said.IKE1, said.IKE1_KEY, said.IKE1_KEY)),
    Conversation(True, _turns(said.IKE2, said.IKE2)),
    Conversation(True, _turns(said.TFTP_READ, said.TFTP_READ)),
    Conversation(True, _turns(*said.DHT)),
    Conversation(True, _turns(initial(crypto(0, HELLO)), chlo(SNI=b"a.example", UAID=b"b"))),
    Conversation(
        False,
        _turns(
            said.MQTT_CONNECT, said.MQTT_CONNACK, said.MQTT_SUBSCRIBE, said.MQTT_SUBACK, said.MQTT_PUBLISH,
            said.MQTT_PUBACK, said.MQTT_DISCONNECT,
        ),
    ),
    Conversation(False, _turns(said.MQTT5_CONNECT, said.MQTT5_CONNACK, said.MQTT_PUBLISH)),
    Conversation(False, tuple([(int(side), data) for side, data in said.RFB])),
    Conversation(False, tuple([(int(side), data) for side, data in said.PG_SESSION])),
    Conversation(False, _turns(*said.MODBUS)),
    Conversation(False, _turns(*said.DNP3)),
    Conversation(False, _turns(*said.ENIP)),
    Conversation(True, _turns(*said.ENIP_IDENTITY)),
)  # fmt: skip

NFS = tuple([
    Conversation(datagrams, tuple([(int(side), data) for side, data in turns]))
    for session in exports.SESSIONS
    for datagrams, turns in ((True, session), (False, exports.streamed(session)))
])  # fmt: skip
