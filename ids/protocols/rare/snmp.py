"""SNMP 1, 2c and 3 over UDP (RFC 1157, RFC 3416, RFC 3412): each message is a transaction."""

from __future__ import annotations

from typing import Any

from ids.protocols.der import INTEGER, OCTETS, OID, SEQUENCE, Element, Malformed, element, expect, integer, oid
from ids.protocols.dialogue import Dialogue, DialogueSettings, Shared, speaking
from ids.protocols.framing import Message
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.spelling import text
from ids.types import Direction

MAX_VARIABLES = 256
"""Variables of one message that are read: a datagram of the usual size has no more than 100."""
_V3 = 3
_USER_MODEL = 3
"""The security model of users (RFC 3414), which is the one in use."""
_PDUS = (
    "get_request", "get_next_request", "response", "set_request", "trap_v1", "get_bulk_request", "inform_request",
    "trap_v2", "report",
)  # fmt: skip
_TRAP = 4
_PDU_TAG = 0xA0
_ENCRYPTED = 0x02
"""Bit of ``msgFlags`` (RFC 3412 section 6.4)."""
_ERRORS = (
    "NoError", "TooBig", "NoSuchName", "BadValue", "ReadOnly", "GenErr", "NoAccess", "WrongType", "WrongLength",
    "WrongEncoding", "WrongValue", "NoCreation", "InconsistentValue", "ResourceUnavailable", "CommitFailed",
    "UndoFailed", "AuthorizationError", "NotWritable", "InconsistentName",
)  # fmt: skip
_TRAPS = (
    "coldStart", "warmStart", "linkDown", "linkUp", "authenticationFailure", "egpNeighborLoss", "enterpriseSpecific",
)  # fmt: skip


class SnmpMessage:
    """What one message says."""

    def __init__(self, data: bytes) -> None:
        """Read it; raises `Malformed` where it has no version, and no community or user."""
        self.data = data
        whole = expect(data, 0, len(data), SEQUENCE)
        version = expect(data, whole.start, whole.end, INTEGER)
        self.number = integer(data, version)
        self.community: bytes | None = None
        self.user: bytes | None = None
        self.encrypted = False
        self.model: int | None = _USER_MODEL
        """What secures version 3."""
        self.pdu: int | None = None
        self.info: dict[str, Any] = {}
        self.left_out: str | None = None
        """Why variables were, as a counter says it; those before them count."""
        if self.version == _V3:
            self._read_v3(version.end, whole.end)
            return
        community = expect(data, version.end, whole.end, OCTETS)
        self.community = data[community.start : community.end]
        self._read_pdu(element(data, community.end, whole.end))

    @property
    def version(self) -> int:
        """The version as people count: 1, 2, 3."""
        return self.number if self.number == _V3 else self.number + 1

    def _read_v3(self, at: int, end: int) -> None:
        data = self.data
        head = expect(data, at, end, SEQUENCE)
        flags = head
        for tag in (INTEGER, INTEGER, OCTETS):
            flags = expect(data, head.start if flags is head else flags.end, head.end, tag)
        try:
            self.model = integer(data, expect(data, flags.end, head.end, INTEGER))
        except Malformed:
            self.model = None
        security = expect(data, head.end, end, OCTETS)
        self.encrypted = flags.end > flags.start and bool(data[flags.start] & _ENCRYPTED)
        self.user = self._user(security)
        if not self.encrypted:
            scoped = expect(data, security.end, end, SEQUENCE)
            engine = expect(data, scoped.start, scoped.end, OCTETS)
            context = expect(data, engine.end, scoped.end, OCTETS)
            self._read_pdu(element(data, context.end, scoped.end))

    def _user(self, security: Element) -> bytes | None:
        """Return the name of the user (RFC 3414 section 2.4)."""
        try:
            model = expect(self.data, security.start, security.end, SEQUENCE)
            user = model
            for tag in (OCTETS, INTEGER, INTEGER, OCTETS):
                user = expect(self.data, model.start if user is model else user.end, model.end, tag)
        except Malformed:
            return None
        return self.data[user.start : user.end]

    def _read_pdu(self, pdu: Element) -> None:
        data = self.data
        self.pdu = pdu.tag - _PDU_TAG
        if self.pdu == _TRAP:
            oid_of = expect(data, pdu.start, pdu.end, OID)
            address = element(data, oid_of.end, pdu.end)
            generic = expect(data, address.end, pdu.end, INTEGER)
            last = element(data, expect(data, generic.end, pdu.end, INTEGER).end, pdu.end)  # behind it, the time
            kind = integer(data, generic)
            self.info["trap_type"] = _TRAPS[kind] if 0 <= kind < len(_TRAPS) else f"TrapType({kind})"
            self.info["trap_oid"] = oid(data, oid_of)
            self.info["trap_address"] = ".".join(map(str, data[address.start : address.end][:4]))
        else:
            status = expect(data, expect(data, pdu.start, pdu.end, INTEGER).end, pdu.end, INTEGER)
            last = expect(data, status.end, pdu.end, INTEGER)
            error = integer(data, status)
            if error and _PDUS[self.pdu : self.pdu + 1] != ("get_bulk_request",):
                self.info["error"] = _ERRORS[error] if 0 < error < len(_ERRORS) else f"ErrorStatus({error})"
        names = self._variables(last.end, pdu.end)
        if names:
            self.info["vars"] = names

    def _variables(self, at: int, end: int) -> list[str]:
        names: list[str] = []
        try:
            listed = expect(self.data, at, end, SEQUENCE)
            at = listed.start
            while at < listed.end and len(names) < MAX_VARIABLES:
                variable = expect(self.data, at, listed.end, SEQUENCE)
                names.append(oid(self.data, expect(self.data, variable.start, variable.end, OID)))
                at = variable.end
            if at < listed.end:
                self.left_out = "too_many_variables"
        except Malformed:
            self.left_out = "malformed_variables"
        return names

    def fields(self) -> dict[str, Any]:
        """Return what EVE logs."""
        fields: dict[str, Any] = {"version": self.version}
        if self.encrypted:
            return {**fields, "pdu_type": "encrypted"}
        if self.pdu is not None:
            known = 0 <= self.pdu < len(_PDUS)
            fields["pdu_type"] = _PDUS[self.pdu] if known else f"Unknown(0x{self.pdu & 0xFF:x})"
        fields |= self.info
        if self.community is not None:
            fields["community"] = text(self.community)
        if self.user is not None:
            fields["usm"] = text(self.user)
        return fields


def is_snmp(data: bytes) -> bool:
    """Return whether a datagram is a message: a version that there is, and what has to stand behind it."""
    if data[:1] != b"\x30":
        return False
    try:
        whole = expect(data, 0, len(data), SEQUENCE)
        version = expect(data, whole.start, whole.end, INTEGER)
        if integer(data, version) == _V3:
            return expect(data, version.end, whole.end, SEQUENCE).end < whole.end
        if integer(data, version) not in (0, 1):
            return False
        community = expect(data, version.end, whole.end, OCTETS)
        pdu = element(data, community.end, whole.end)
    except Malformed:
        return False
    return 0 <= pdu.tag - _PDU_TAG < len(_PDUS)


class SnmpFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "snmp"

    __slots__ = ("_version",)

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        self._version: int | None = None
        """That of its first message."""

    def take(self, direction: Direction, message: Message) -> None:
        """Read a message."""
        try:
            said = SnmpMessage(message.data)
        except Malformed:
            self.count("malformed")
            self.say(direction, {}, {}, self.new(), complete=False, odd=("malformed_data",))
            return
        buffers = {
            "snmp.version": b"%d" % said.version,
            "snmp.community": said.community,
            "snmp.usm": said.user,
            "snmp.pdu_type": None if said.pdu is None else b"%d" % said.pdu,
            "snmp.vars": tuple([name.encode() for name in said.info.get("vars", ())]),
        }
        if said.left_out is not None:
            self.count(said.left_out)
        if self._version is None:
            self._version = said.version
        odd = ["version_mismatch"] if said.version != self._version else []
        if said.model != _USER_MODEL:
            odd.append("unknown_security_model")
        self.say(direction, buffers, said.fields, self.new(), odd=odd)


PROTOCOL = Protocol(
    name="snmp",
    usual_ports=frozenset({161, 162}),
    usual_starts=dict.fromkeys((161, 162), frozenset({0x30})),
    datagram=is_snmp,
    settings=DialogueSettings,
    datagrams=speaking(SnmpFlow),
    oddities=("malformed_data", "unknown_security_model", "version_mismatch"),
    event="snmp",
    of_sender=True,
    buffers=(
        Buffer("snmp.version", "snmp", None, "version, decimal: 1, 2 or 3"),
        Buffer("snmp.community", "snmp", None, "community, of versions 1 and 2"),
        Buffer("snmp.usm", "snmp", None, "user, of version 3"),
        Buffer("snmp.pdu_type", "snmp", None, "type of the request or answer, decimal: 0 is get, 3 is set"),
        Buffer("snmp.vars", "snmp", None, "object identifiers of the variables", several=True),
    ),
)
