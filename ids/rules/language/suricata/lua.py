"""``lua``: a script that says whether the rule matches, and in its ``init`` what it has to see for that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ids.later import late_pattern
from ids.protocols import meant
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import required
from ids.rules.model.buffers import APP_PROTOCOLS, PACKET_HEADERS, PARSED, PAYLOAD, nearest
from ids.rules.model.lua import ScriptError
from ids.rules.model.rule import base_of
from ids.rules.model.script import MAX_SCRIPT_BYTES, PACKET, Script, functions_of
from ids.types import Direction

_SERVER, _CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT

_BUFFERS: Mapping[str, tuple[str, Direction | None]] = {
    "http.uri": ("http.uri", _SERVER),
    "http.uri.raw": ("http.uri.raw", _SERVER),
    "http.request_line": ("http.request_line", _SERVER),
    "http.request_headers": ("http.header", None),
    "http.request_headers.raw": ("http.header.raw", _SERVER),
    "http.request_cookie": ("http.cookie", None),
    "http.request_user_agent": ("http.user_agent", _SERVER),
    "http.request_body": ("http.request_body", _SERVER),
    "http.response_body": ("http.response_body", _CLIENT),
    "http.response_cookie": ("http.cookie", None),
    "http.response_headers": ("http.header", None),
    "http.response_headers.raw": ("http.header.raw", _CLIENT),
    "dns.rrname": ("dns.query", _SERVER),
}
"""Needs that are a buffer, and the side that is listened to, where ``flow`` names none; None: both, as in Suricata."""

_EXCHANGES: Mapping[str, tuple[str, Direction | None]] = {
    "dns.request": ("dns", _SERVER),
    "dns.response": ("dns", _CLIENT),
    "tls": ("tls", None),
    "ssh": ("ssh", None),
    "smtp": ("smtp", _SERVER),
    "dnp3": ("dnp3", None),
}
"""Needs that are an exchange of a protocol, and the side that speaks; None: both."""

_NAMED = late_pattern(r"lua(?:jit)?\s*:\s*!?([^;\n]{1,1024});")

MAX_NAMED = 10_000
"""Scripts of a load that are read to see whether they have changed."""

_PACKET = frozenset((PACKET, "payload"))
_STATE = ("flowvar", "flowint")
_KNOWN = [*_BUFFERS, *_EXCHANGES, *sorted(_PACKET), "stream", "buffer", "bytevar"]


def lua(draft: Draft, value: str | None) -> None:
    """``lua:[!]script.lua``: the script returns 1, or with ``!`` it does not."""
    text = required(value)
    name = text.removeprefix("!").strip()
    source = read_script(draft.directory / name)
    functions, missing = functions_of(source)
    if missing:
        what = ", ".join(missing)
        raise Unsupported("lua function", f"{name} uses {what}, which is not there for scripts", "do without it")
    try:
        needs = draft.trials.needs_of(name, source, functions)
    except ScriptError as error:
        raise Malformed(f"{name}: {error}", "mend the script; it needs the functions init and match") from None
    bytevars = _variables(draft, needs)
    wanted = tuple(need for need, said in needs.items() if said == "true")
    _check(needs, wanted, name)
    digest = hashlib.sha256(source).hexdigest()
    script = Script(name, source, digest, wanted, functions, bytevars, negated=text.startswith("!"))
    _place(draft, script)


def read_script(path: Path) -> bytes:
    """Read a script; raises `Malformed`."""
    try:
        if not path.is_file():
            raise FileNotFoundError(2, "it is no file" if path.exists() else "no such file")
        with path.open("rb") as file:
            source = file.read(MAX_SCRIPT_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Malformed(f"{path} cannot be read: {why}", "name a file from the folder of the rules on") from None
    if len(source) > MAX_SCRIPT_BYTES:
        raise Malformed(f"{path} is larger than {MAX_SCRIPT_BYTES >> 10} KiB", "make it shorter")
    return source


def scripts_in(texts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return path and digest of each script that is named in files of rules, each given as path and text.

    That a script was changed is to be known before any rule is built (`ids.rules.language.suricata.kept`). What only
    looks like one changes nothing.
    """
    found: dict[Path, str] = {}
    for path, text in texts:
        lowered = text.lower()  # of Latin-1, which keeps all places
        for named in _NAMED.finditer(lowered):
            script = Path(path).parent / text[named.start(1) : named.end(1)].strip()
            if script not in found and len(found) < MAX_NAMED:
                found[script] = _digest_of(script)
    return [(str(path), digest) for path, digest in found.items()]


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(read_script(path)).hexdigest()
    except Malformed as fault:
        return str(fault)


def _variables(draft: Draft, needs: Mapping[str, str | tuple[str, ...]]) -> tuple[str, ...]:
    """Return the variables of the rule that a script asks for."""
    found = needs.get("bytevar", ())
    if isinstance(found, str):
        raise Malformed("bytevar is no table of names", 'such as needs["bytevar"] = {"name"}')
    for name in found:
        if name not in draft.variables:
            raise Malformed(f"no byte_extract or byte_math before it sets {name[:40]!r}", "put lua behind it")
    return found


def _check(needs: Mapping[str, str | tuple[str, ...]], wanted: tuple[str, ...], name: str) -> None:
    """Raise where a script needs what is not there, or does not go together."""
    for need, said in needs.items():
        if need in _STATE:
            raise Unsupported(
                f"lua {need}", f"{name} needs {need}: scripts see no state of flows", f"use {need} instead"
            )
        if need in _KNOWN and need != "bytevar" and said != "true":
            raise Malformed(f"{name} needs {need} = {str(said)[:40]!r}", 'its value has to be true, or "true"')
        if need not in _KNOWN:
            raise Malformed(f"{name} needs {need[:40]!r}, which is not known", nearest(need, _KNOWN))
    if len(wanted) > 1 and not _PACKET.issuperset(wanted):
        raise Malformed(f"{name} needs {' and '.join(wanted)} together", "have it need one of them")


def _place(draft: Draft, script: Script) -> None:
    """Put a script where it is asked, and note the side that it listens to."""
    need = script.needs[0] if script.needs else ""
    if need == "buffer":
        if draft.sticky is None:
            raise Malformed(f"{script.name} needs the buffer, and none is named before it", "such as http.uri;")
        draft.here().scripts.append(script)
    elif need == "stream":
        if draft.protocol in ("udp", "icmp", "icmpv4", "icmpv6", "sctp"):
            raise Malformed(f"{script.name} needs the stream, which {draft.protocol} has not", "have it need payload")
        draft.part(PAYLOAD).scripts.append(script)
    elif need in _BUFFERS:
        buffer, draft.side = _BUFFERS[need]
        draft.part(buffer).scripts.append(script)
    elif need in _EXCHANGES:
        protocol, draft.side = _EXCHANGES[need]
        draft.scripts.append(replace(script, protocol=protocol))
    else:
        draft.scripts.append(script)


def settle(draft: Draft, category: str, severity: int) -> None:
    """Scope a rule by what its scripts need, and tell them whose they are; raises `Fault`."""
    rule = draft.gid, draft.sid, draft.rev, draft.title, category, severity
    draft.scripts = [replace(script, rule=rule) for script in draft.scripts]
    for part in draft.parts:
        part.scripts = [replace(script, rule=rule) for script in part.scripts]
    if draft.direction is None:
        draft.direction = draft.side
    for script in draft.scripts:
        if script.protocol:
            _check_protocol(draft, script)
        elif script.of_packet:
            _ask_packets(draft, script)


def _check_protocol(draft: Draft, script: Script) -> None:
    wanted = draft.protocol
    if wanted in APP_PROTOCOLS and script.protocol not in meant(wanted):
        raise Malformed(f"{script.name} needs {script.protocol}, and the rule is on {wanted}", "write one protocol")
    need = script.needs[0]
    side = _EXCHANGES[need][1]
    if side is not None and draft.direction != side:
        who, other = ("client", "to_client") if side == _SERVER else ("server", "to_server")
        raise Malformed(
            f"{script.name} needs {need}, which is the {who}'s, but flow asks for {other}: it can never match",
            "turn the direction round, or leave it out",
        )
    if script.protocol not in PARSED:
        raise Unsupported(f"lua {script.protocol}", f"there is no parser for {script.protocol}", "test the payload")


def _ask_packets(draft: Draft, script: Script) -> None:
    """Have a rule look at single packets."""
    if draft.payload_of == "stream":
        raise Malformed(f"{script.name} needs packets, and the rule is on streams", "have it need the stream")
    draft.payload_of = "packet"
    others = sorted({base_of(part.buffer) for part in draft.parts} - {PAYLOAD, *PACKET_HEADERS})
    if others:
        need = script.needs[0]
        why = f"{script.name} needs {need} of single packets, beside {others[0]}"
        raise Unsupported(f"lua {need}", why, "have it need the buffer")
