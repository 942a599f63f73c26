"""What an output keeps to itself of the events that it is given: addresses and payload, cut off or as keyed hashes.

It goes through all strings of the finished event, in the output's own thread, so that no place where an address may
stand is forgotten: keys of EVE, answers of DNS, a host name that is an address, the sentence that explains a block.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from ids.errors import UsageError
from ids.events import Event
from ids.later import late_pattern
from ids.memory import passing

KEPT_BITS = {4: 24, 6: 48}
"""Of an address that is cut short: the network of a site."""

KEY_BYTES = 32
MIN_KEY_BYTES = 16

MAX_REMEMBERED = 64
"""Characters of an address whose mask is remembered: under ``arpa`` one has 63. What is longer is none, is chosen by
others, and may have as many as an event."""

PAYLOAD_KEYS = frozenset({
    "payload", "payload_printable", "payload_base64", "packet", "excerpt", "http_request_body",
    "http_request_body_printable", "http_response_body", "http_response_body_printable",
})  # fmt: skip
"""Keys of events, at any depth, whose values are bytes of the traffic."""

_GIVES_AWAY = ("community_id", "packet", "packet_info")
"""What names the addresses in another form: a hash without a key, a frame with its headers."""

_FOUND = late_pattern(
    r"(?P<mac>(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![0-9A-Za-z:]))"
    r"|(?P<arpa4>(?<!\d)\d{1,3}(?:\.\d{1,3}){3}(?=\.(?i:in-addr\.arpa)))"
    r"|(?P<arpa6>(?<![0-9A-Za-z])[0-9A-Fa-f](?:\.[0-9A-Fa-f]){31}(?=\.(?i:ip6\.arpa)))"
    r"|(?P<v6>(?<![0-9A-Za-z:])[0-9A-Fa-f]*(?::[0-9A-Fa-f]*){2,}(?:\.\d{1,3})*(?![0-9A-Za-z:]|\.\d))"
    r"|(?P<v4>(?<!\d)\d{1,3}(?:\.\d{1,3}){3,}(?!\d))"
)
_NUMBERS = late_pattern(r"(?<!\d)\d{1,3}(?:\.\d{1,3}){3,}(?!\d)")
_GROUPS, _SITE = 8, 3
"""Groups of digits of an IPv6 address, and those of its /48."""


class PrivacySettings(BaseModel):
    """What an output does not pass on. Other outputs have their own."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    mask: Literal["none", "truncate", "hash"] = Field(
        "none",
        description="Addresses, wherever they stand in an event: `truncate` leaves the /24 of IPv4 and the /48 of IPv6;"
        " `hash` puts a keyed hash in their place, spelt as an address of fd00::/8, the same for the same address."
        " Either leaves out `community_id` and `packet`, which give addresses away.",
    )
    payload: Literal["keep", "drop", "hash"] = Field(
        "keep",
        description="Bytes of the traffic (payload, packet, bodies, evidence): passed on, left out, or a keyed hash.",
    )
    key_file: Path | None = Field(
        None, description="The key of the hashes, 16 bytes or more; made, for its owner alone, where there is none."
    )


class Privacy:
    """Changes lines as the settings of one output ask."""

    def __init__(self, settings: PrivacySettings, name: str) -> None:
        """Read the key; raises `UsageError` where one is needed and cannot be had. ``name`` is the output's."""
        self._mask, self._payload = settings.mask, settings.payload
        self._key = b""
        if "hash" in (settings.mask, settings.payload):
            if settings.key_file is None:
                raise UsageError(
                    f"{name}.privacy asks for hashes: say where their key is to be ({name}.privacy.key_file)"
                )
            self._key = _key(settings.key_file, name)
        self._shown = passing(lru_cache(maxsize=65_536)(self._masked))

    @property
    def asked(self) -> bool:
        """The settings ask for something."""
        return self._mask != "none" or self._payload != "keep"

    def lines(self, data: bytes) -> bytes:
        """Return lines of JSON as they may be passed on; one that cannot be read is left out."""
        return b"".join(map(self._line, data.splitlines())) if self.asked else data

    def event(self, event: Event) -> Event:
        """Return an event as it may be passed on."""
        if not self.asked:
            return event
        gone = _GIVES_AWAY if self._mask != "none" else ()
        shown: Event = self._changed({key: value for key, value in event.items() if key not in gone})
        return shown

    def _line(self, line: bytes) -> bytes:
        try:
            event = orjson.loads(line)
        except ValueError:
            return b""
        return orjson.dumps(self.event(event), option=orjson.OPT_APPEND_NEWLINE)

    def _changed(self, value: Any) -> Any:
        """Return a value, with all that is in it, as it may be passed on."""
        if isinstance(value, str):
            return value if self._mask == "none" else _FOUND.sub(self._replaced, value)
        if isinstance(value, list):
            return [self._changed(of) for of in value]
        if not isinstance(value, dict):
            return value
        made = {}
        for key, of in value.items():
            if self._payload == "keep" or key not in PAYLOAD_KEYS or isinstance(of, dict):
                made[self._changed(key)] = self._changed(of)
            elif self._payload == "hash" and isinstance(of, str):
                made[key] = "hmac-sha256:" + self._hash(of.encode())[:16].hex()
        return made

    def _replaced(self, found: re.Match[str]) -> str:
        masked = self._shown if len(found[0]) <= MAX_REMEMBERED else self._masked
        return masked(found[0], str(found.lastgroup))

    def _masked(self, text: str, kind: str) -> str:
        if kind == "mac":
            return self._mac(text)
        if kind.startswith("arpa"):
            return _reversed(self._masked(_reversed(text, kind), kind.replace("arpa", "v")), kind)
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return self._run(text)
        mapped = address.ipv4_mapped if address.version == 6 else None
        address = mapped or address
        if address.is_unspecified:
            return text
        if self._mask == "truncate":
            return str(ipaddress.ip_network((address, KEPT_BITS[address.version]), strict=False).network_address)
        return self._hashed(address.packed)

    def _run(self, text: str) -> str:
        """Return numbers that are no address, such as a time before one, without the addresses that may be in them."""
        groups = text.split(":")
        if len(groups) < _GROUPS and "::" not in text:
            return _NUMBERS.sub(self._dotted, text)
        if self._mask == "truncate":
            return _NUMBERS.sub(self._dotted, ":".join([*groups[:_SITE], *("0" * len(groups[_SITE:]))]))
        return self._hashed(text.encode())

    def _dotted(self, found: re.Match[str]) -> str:
        """Return dotted numbers; of more than four, any four may be an address."""
        text = found[0]
        if text.count(".") == 3:
            return self._masked(text, "v4") if _is_v4(text) else text
        if self._mask == "truncate":
            return ".".join([*text.split(".")[:3], *("0" * (text.count(".") - 2))])
        return self._hashed(text.encode())

    def _mac(self, text: str) -> str:
        if self._mask == "truncate":
            return text[:8] + ":00:00:00"
        return (b"\x02" + self._hash(text.lower().encode())[:5]).hex(":")

    def _hashed(self, data: bytes) -> str:
        return str(ipaddress.IPv6Address(b"\xfd" + self._hash(data)[:15]))

    def _hash(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, hashlib.sha256)


def _is_v4(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False


def _reversed(text: str, kind: str) -> str:
    """Return the address that a name under ``arpa`` stands for, or the name for an address."""
    if kind == "arpa4":
        if ":" in text:  # a hash, of an address that was IPv4
            return ".".join(reversed(ipaddress.IPv6Address(text).exploded.replace(":", "")))
        return ".".join(reversed(text.split(".")))
    if text.count(".") > 3:
        digits = "".join(reversed(text.split(".")))
        return ":".join(digits[at : at + 4] for at in range(0, 32, 4))
    if ":" not in text:  # of an address that is IPv4, mapped
        text = f"::ffff:{text}"
    return ".".join(reversed(ipaddress.IPv6Address(text).exploded.replace(":", "")))


def _key(path: Path, name: str) -> bytes:
    try:
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            key = path.read_bytes().strip()
        else:
            key = secrets.token_bytes(KEY_BYTES).hex().encode()
            with os.fdopen(file, "wb") as stream:
                stream.write(key + b"\n")
    except OSError as error:
        raise UsageError(f"{name}.privacy.key_file {path}: {error.strerror or error}") from error
    if len(key) < MIN_KEY_BYTES:
        raise UsageError(f"{name}.privacy.key_file {path} has {len(key)} bytes: a key has {MIN_KEY_BYTES} or more")
    return key
