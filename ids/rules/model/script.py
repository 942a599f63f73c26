"""Scripts in Lua, as tests of rules (``lua``): what each may ask for, which follows from its needs and from its text.

Nothing is asked for while a script runs, in a process of its own (`ids.rules.model.lua`). What it can ask for is sent
along: the buffers that it needs, and what the functions return that stand in its text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ids.later import late_pattern

MAX_SCRIPT_BYTES = 256 << 10
"""Of one script; those of public rules have a few kilobytes."""

PACKET = "packet"
"""The need of a whole packet, which is also the name of the buffer that has it. No rule can name it."""

VALUES = frozenset((
    "SCPacketPayload", "SCPacketTimestamp", "SCPacketTimeString", "SCPacketTuple",
    "SCFlowTuple", "SCFlowTimestamps", "SCFlowTimeString", "SCFlowAppLayerProto", "SCFlowStats", "SCFlowId",
    "SCRuleIds", "SCRuleMsg", "SCRuleClass", "SCThreadInfo",
    "HttpGetRequestHost", "HttpGetRequestLine", "HttpGetResponseLine", "HttpGetRawRequestHeaders",
    "HttpGetRawResponseHeaders", "HttpGetRequestUriRaw", "HttpGetRequestUriNormalized", "HttpGetRequestHeaders",
    "HttpGetResponseHeaders", "HttpGetRequestBody", "HttpGetResponseBody",
    "DnsGetQueries", "DnsGetAnswers", "DnsGetAuthorities", "DnsGetRcode", "DnsGetRecursionDesired", "DnsGetDnsRrname",
    "DnsGetTxid",
    "TlsGetVersion", "TlsGetCertInfo", "TlsGetCertChain", "TlsGetSNI", "TlsGetCertSerial", "TlsGetCertNotBefore",
    "TlsGetCertNotAfter",
    "Ja3GetHash", "Ja3GetString", "Ja3SGetHash", "Ja3SGetString",
    "SshGetServerProtoVersion", "SshGetServerSoftwareVersion", "SshGetClientProtoVersion",
    "SshGetClientSoftwareVersion", "HasshGet", "HasshGetString", "HasshServerGet", "HasshServerGetString",
    "SMTPGetMimeList", "SMTPGetMailFrom", "SMTPGetRcptList",
))  # fmt: skip
"""Functions of Suricata that scripts can call, which return what is known."""

LOOKUPS = frozenset(("SCByteVarGet", "HttpGetRequestHeader", "HttpGetResponseHeader", "SMTPGetMimeField"))
"""Those that return what is known under a name or a number."""

_LOGS = frozenset(("SCLogDebug", "SCLogInfo", "SCLogNotice", "SCLogWarning", "SCLogError"))
_CONSTANTS = frozenset(("SCRuleSid", "SCRuleRev", "SCRuleGid"))

_SURICATAS = late_pattern(
    r"S[Cc](?:Packet|Flow|Rule|ByteVar|Thread|Streaming|Log)\w+"
    r"|(?:Http|Dns|Tls|Ssh|SMTP|Smtp|Ja3S?|Hassh(?:Server)?|DNP3|Dnp3)Get\w*"
)
"""Names that only a function of Suricata has."""

_OUTSIDE = frozenset(("io", "os", "package", "debug", "ffi", "jit", "python"))
_LOADING = frozenset((
    "dofile", "loadfile", "loadstring", "load", "module", "setfenv", "getfenv", "collectgarbage", "newproxy",
))  # fmt: skip

_TOKEN = late_pattern(
    r"--\[(?P<dashes>=*)\[(?s:.*?)(?:\](?P=dashes)\]|\Z)|--[^\n]*"  # comments
    r"|\[(?P<level>=*)\[(?s:.*?)(?:\](?P=level)\]|\Z)"  # texts
    r"|\"(?:\\(?s:.)|[^\"\\\n])*\"?|'(?:\\(?s:.)|[^'\\\n])*'?"
    r"|\.{2,}|\bfunction\s+(?P<own>[A-Za-z_]\w*)(?:[.:]\w+)*"
    r"|(?P<member>[.:]\s*)?(?P<name>[A-Za-z_]\w*)(?=\s*(?P<behind>[.:({\"'\[]?))"
)


@dataclass(frozen=True, slots=True)
class Script:
    """A script says yes, or with ``negated`` no; costly, so evaluated last.

    With ``buffer``, it is asked of an instance of that. With ``protocol``, of an exchange of that. Else of what is at
    hand: of a packet, where it needs a packet or its payload.
    """

    name: str
    """As the rule names its file."""
    source: bytes = field(repr=False)
    digest: str = field(repr=False)
    """Of the source."""
    needs: tuple[str, ...] = ()
    """The keys that its arguments have."""
    functions: tuple[str, ...] = ()
    """Those of `VALUES` and `LOOKUPS` that stand in its text."""
    bytevars: tuple[str, ...] = ()
    """The variables of the rule that it asks for by number."""
    negated: bool = False
    buffer: str = ""
    protocol: str = ""
    rule: tuple[int, int, int, str, str, int] = (1, 0, 0, "", "", 3)
    """gid, sid, revision, title, class in words and priority of its rule."""

    @property
    def key(self) -> str:
        """What tells its state from those of others: the same script has another one in another rule."""
        gid, sid, rev = self.rule[:3]
        return f"{self.digest} {gid}:{sid}:{rev}"

    @property
    def of_payload(self) -> bool:
        """It is asked of the payload of a packet."""
        return "payload" in self.needs

    @property
    def of_packet(self) -> bool:
        """It is asked of packets, one by one."""
        return self.of_payload or PACKET in self.needs


def functions_of(source: bytes) -> tuple[tuple[str, ...], list[str]]:
    """Return the functions that stand in a script and are there, and those that are not: of Suricata, or of Lua and
    not for scripts. Each has its name alone, or, of a library of Lua, the name of that.
    """
    named: set[str] = set()
    missing: set[str] = set()
    own: set[str] = set()
    for token in _TOKEN.finditer(source.decode("latin-1")):
        name, behind = token["name"], token["behind"]
        if token["own"]:
            own.add(token["own"])
        elif name is None or token["member"]:
            continue
        elif name in VALUES or name in LOOKUPS:
            named.add(name)
        elif name in _LOGS or name in _CONSTANTS:
            continue
        elif (
            _SURICATAS.fullmatch(name) is not None
            or (name in _OUTSIDE and behind in (".", ":", "["))
            or (name in _LOADING and behind in ("(", "{", '"', "'", "["))
        ):
            missing.add(name)
    return tuple(sorted(named)), sorted(missing - own)
