"""What response has done, as records for plugins that keep them."""

from __future__ import annotations

from ids.respond.events import evidence_of
from ids.respond.gate import BlockOrder
from ids.types import Change, Match


def block_change(match: Match, order: BlockOrder) -> Change:
    """Return the record of a block; its alert may have been suppressed, so it says by itself what there was."""
    asked = match.signature.block
    detail = {
        "signature": match.signature.title,
        "rule": match.signature.origin,
        "detector": match.detector,
        "ttl_s": order.ttl_s,
        "packet": order.number,
        "evidence": evidence_of(match),
        "gid": match.signature.gid,
        "side": "src_ip" if asked is None else asked.target.removeprefix("outer_"),
    }
    until_ns = order.ts_ns + order.ttl_s * 1_000_000_000
    return Change(
        "block", order.ts_ns, order.network, order.sid, order.label, order.mode, until_ns, match.flow.id, detail=detail
    )
