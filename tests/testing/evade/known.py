"""What evades us today, with the reason. This list only shrinks: a name on it that is found makes a test fail."""

from __future__ import annotations

KNOWN: dict[str, tuple[str, ...]] = {
    "connections of which a part is not seen are not followed by default": (
        "only the client's packets are seen",
        "the handshake is not seen",
    ),
    "an idle flow is forgotten sooner than hosts forget it": (
        "long idle after a RST with a short TTL",
        "long idle before a hole is filled",
        "long idle before the request",
        "long idle in the middle of the request",
    ),
    "of two versions of a byte in the queue only the first is inspected": (
        "many small segments of junk under a large one",
        "overlap that begins before and ends after the other, junk first",
        "overlap that begins before and ends before the other, junk first",
        "overlap that begins before and ends with the other, junk first",
        "overlap that begins with and ends after the other, junk first",
        "the hole's filler reaches into junk that waits",
    ),
    "of two versions of a byte in the queue only the first is inspected: hosts of other policies take the other": (
        "overlap that begins after and ends after the other, junk first",
        "overlap that begins after and ends before the other, junk first",
        "overlap that begins after and ends with the other, junk first",
        "overlap that begins with and ends before the other, junk first",
        "overlap that begins with and ends with the other, junk first",
        "three versions, the true one last",
    ),
    "what dies on the way is taken in, and the second version is not inspected": (
        "IPv6: junk with a hop limit that ends before the host",
        "junk with a TTL of zero",
        "junk with a TTL that ends before the host",
        "junk with a multicast MAC address",
        "junk with another host's MAC address",
        "junk with the broadcast MAC address",
    ),
    "acknowledgements are not held against what was sent": (
        "junk with an acknowledgement far ahead by a window",
        "junk with an acknowledgement of what was never sent",
        "junk with an acknowledgement too old for any window",
    ),
    "an MD5 signature that the host has no key for is not looked at": ("junk with an MD5 signature",),
    "timestamps are not looked at (PAWS)": (
        "junk with a timestamp far in the past",
        "junk with an old timestamp",
    ),
    "the advertised window is not looked at": ("junk for a place that the window reaches later",),
    "HTTP is not recognised where the client answers a SYN of the server": (
        "simultaneous open",
        "split handshake in four steps",
        "split handshake in three steps",
    ),
    "what Linux refuses for its IPv6 options is not read, though another host may take it": (
        "IPv6: a first fragment without the TCP header",
    ),
    "of two versions of a fragment only one is inspected": (
        "IPv6: fragment that begins after and ends after the other, junk first",
        "IPv6: fragment that begins after and ends after the other, junk last",
        "IPv6: fragment that begins after and ends before the other, junk first",
        "IPv6: fragment that begins after and ends with the other, junk first",
        "IPv6: fragment that begins before and ends after the other, junk first",
        "IPv6: fragment that begins before and ends after the other, junk last",
        "IPv6: fragment that begins before and ends before the other, junk first",
        "IPv6: fragment that begins before and ends before the other, junk last",
        "IPv6: fragment that begins before and ends with the other, junk first",
        "IPv6: fragment that begins before and ends with the other, junk last",
        "IPv6: fragment that begins with and ends after the other, junk first",
        "IPv6: fragment that begins with and ends after the other, junk last",
        "IPv6: fragment that begins with and ends before the other, junk first",
        "IPv6: fragment that begins with and ends with the other, junk first",
        "IPv6: fragments of junk before the true ones",
        "fragment that begins after and ends after the other, junk first",
        "fragment that begins after and ends after the other, junk last",
        "fragment that begins after and ends before the other, junk first",
        "fragment that begins after and ends with the other, junk first",
        "fragment that begins before and ends after the other, junk first",
        "fragment that begins before and ends after the other, junk last",
        "fragment that begins before and ends before the other, junk first",
        "fragment that begins before and ends before the other, junk last",
        "fragment that begins before and ends with the other, junk first",
        "fragment that begins before and ends with the other, junk last",
        "fragment that begins with and ends after the other, junk first",
        "fragment that begins with and ends after the other, junk last",
        "fragment that begins with and ends before the other, junk first",
        "fragment that begins with and ends with the other, junk first",
        "fragments of junk before the true ones",
    ),
    "fragments with a TTL that ends before the host are put together with the others": (
        "fragments of junk with a short TTL before the true ones",
    ),
    "what comes in the name of the server from the client is believed": (
        "forged: an acknowledgement past a hole that is filled then",
    ),
    "the protocol is recognised by what comes in the name of the server from the client": (
        "forged: an answer in another protocol",
        "forged: data",
    ),
    "the depth is per flow, not per transaction": (
        "behind 1 MB of benign body",
        "behind 180 requests of 6 kB",
    ),
    "rules look at one form of the target and their patterns begin at its parameters": (
        "a fragment behind the target",
        "an empty parameter before",
        "dot segments in the query",
        "double slashes in the query",
    ),
    "only servers that forgive more than nginx take it": (
        "Content-Length twice, another first",
        "a NUL in the target",
        "carriage returns only",
        "no method",
        "overlong UTF-8",
        "percent u",
        "percent-encoded twice",
    ),
    "the urgent byte is not taken out of the stream": (
        "urgent byte of junk at the end of a segment",
        "urgent byte of junk in the middle of a segment",
    ),
}
"""Reasons, each with the names of evasions that get at least one of the exploits past the shipped rules."""

MISSED = frozenset(name for names in KNOWN.values() for name in names)
