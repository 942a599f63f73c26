"""What EVE logs of a DNS message: version 2 of Suricata's format, key for key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ids.protocols.dns.message import AA, QR, RA, RD, TC, Message, Record, Z
from ids.protocols.dns.records import RCODES, key, rrtype_name, values
from ids.protocols.spelling import text

_FLAGS = (("qr", QR), ("aa", AA), ("tc", TC), ("rd", RD), ("ra", RA), ("z", Z))


def query(message: Message, number: int, tx_id: int) -> dict[str, Any]:
    """Return the object of one of the questions of a query."""
    fields: dict[str, Any] = {"version": 2, "type": "query", "id": message.id}
    if message.questions:
        asked = message.questions[number]
        fields["rrname"], fields["rrtype"] = text(asked.name), rrtype_name(asked.rrtype)
    fields["tx_id"] = tx_id
    if message.flags & Z:
        fields["z"] = True
    fields["opcode"] = message.opcode
    return fields


def answer(message: Message) -> dict[str, Any]:
    """Return the object of an answer."""
    fields: dict[str, Any] = {"version": 2, "type": "answer", "id": message.id, "flags": f"{message.flags:x}"}
    for name, bit in _FLAGS:
        if message.flags & bit:
            fields[name] = True
    fields["opcode"] = message.opcode
    if message.questions:
        fields["rrname"] = text(message.questions[0].name)
        fields["rrtype"] = rrtype_name(message.questions[0].rrtype)
    fields["rcode"] = RCODES[message.rcode]
    answers, authorities, _ = message.sections
    if answers:
        said = [(record, values(message, record)) for record in answers]
        fields["answers"] = [one for record, of in said for one in _records(record, of)]
        grouped: dict[str, list[Any]] = {}
        fields["grouped"] = grouped
        for record, of in said:
            if of:
                grouped.setdefault(rrtype_name(record.rrtype), []).extend(of)
    if authorities:
        fields["authorities"] = [one for record in authorities for one in _records(record, values(message, record))]
    return fields


def in_alert(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object as alerts have it: the query in a list, or the answer without its records."""
    if not fields:
        return {"version": 2}
    if fields["type"] == "query":
        return {"version": 2, "query": [{name: value for name, value in fields.items() if name != "version"}]}
    return {"version": 2, "answer": {name: value for name, value in fields.items() if name not in _LONG}}


_LONG = ("answers", "grouped")


def _records(record: Record, of: list[Any]) -> list[dict[str, Any]]:
    head = {"rrname": text(record.name), "rrtype": rrtype_name(record.rrtype), "ttl": record.ttl}
    if not of:
        return [head]
    name = key(record.rrtype)
    return [{**head, name: value} for value in of]
