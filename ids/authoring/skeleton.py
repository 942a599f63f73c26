"""The beginning of a rule: a file that loads, and whose tests hold, to be changed into what its author wants."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass

from ids.protocols import BY_NAME
from ids.rules.model.buffers import CATALOGUE, PARSED, PAYLOAD
from ids.types import Direction

LOCAL_SIDS = range(9_000_000, 10_000_000)
"""For rules that stay with those who wrote them; no public set has them."""


UNTESTED = "    tests: []                     # nothing makes this buffer: record some, {name: ..., pcap: x.pcap}\n"
"""Where tests would stand."""


@dataclass(frozen=True, slots=True)
class Idea:
    """What is known of a rule that is to be written."""

    title: str
    buffer: str
    literal: str
    sid: int
    level: str = "medium"
    nocase: bool = False


def protocol_of(buffer: str) -> str:
    """Return the traffic in which a buffer is; raises `ValueError` for one that nothing fills."""
    known = CATALOGUE.get(buffer)
    if known is None or (known.protocol is not None and known.protocol not in PARSED):
        raise ValueError(f"no parser gives {buffer!r}")
    if known.protocol is None and buffer != PAYLOAD:
        return "http" if buffer.startswith("file.") else "ip"
    return known.protocol or "tcp"


def skeleton(idea: Idea) -> str:
    """Return a rule file with one rule and, where its buffer can be made, two tests of it; raises `ValueError`."""
    protocol = protocol_of(idea.buffer)
    side = CATALOGUE[idea.buffer].side
    direction = "to_client" if side == Direction.TO_CLIENT or "answer" in idea.buffer else "to_server"
    nocase = ", nocase: true" if idea.nocase else ""
    tests = _tests(idea, protocol, direction)
    return f"""rules:
  - title: {_text(idea.title)}
    id: {uuid.uuid4()}
    sid: {idea.sid}
    rev: 1
    status: experimental          # stable | test | experimental | deprecated
    level: {idea.level}                 # informational | low | medium | high | critical
    description: What it finds, and why that matters.
    references: ['https://example.org/']
    tags: []                      # such as attack.t1190
    falsepositives: [None known]
    traffic: {protocol} any any -> any any
{_flow(protocol, direction if side is not None or tests is not None else None)}    match:
      - {idea.buffer}: {{contains: {_text(idea.literal)}{nocase}}}
    then: alert                   # alert | drop | reject | pass
{tests or UNTESTED}"""


def _flow(protocol: str, direction: str | None) -> str:
    """Return what is asked of the flow. What both sides may send, such as certificates, has no direction where no test
    gives it one; and the first datagram of a flow comes before it is established.
    """
    known = BY_NAME.get(protocol)
    established = [] if known is not None and known.datagram is not None else ["established"]
    words = [*established, *([direction] if direction is not None else [])]
    return f"    flow: [{', '.join(words)}]\n" if words else ""


def _tests(idea: Idea, protocol: str, direction: str) -> str | None:
    """Return tests that hold; None of a buffer that no ready stimulus fills."""
    fires, stays = (_stimulus(idea.buffer, protocol, direction, text) for text in (idea.literal, _near(idea.literal)))
    if fires is None or stays is None:
        return None
    return f"""    tests:
      - name: fires
        {fires}
        alerts: 1
      - name: a near miss stays silent
        {stays}
        alerts: 0
"""


def _near(literal: str) -> str:
    """Return another text of the same form: letters and digits the next in order."""
    found = re.sub("[a-yA-Y0-8]", lambda match: chr(ord(match[0]) + 1), literal)
    return found if found != literal else literal[:-1] or "x"


def _stimulus(buffer: str, protocol: str, direction: str, text: str) -> str | None:
    """Return a test that puts a text into a buffer; None where there is none."""
    if buffer == PAYLOAD:
        return f"payload: {{{direction}: {_text(text)}}}"
    if protocol == "dns" and buffer in _NAMES:
        answer = ", answers: [192.0.2.7]" if direction == "to_client" else ""
        return f"dns: {{query: {_text(text)}{answer}}}"
    if buffer == "tls.sni":
        return f"tls: {{sni: {_text(text)}}}"
    made = _HTTP.get(buffer)
    return None if made is None else f"http: {{{made.replace('TEXT', _text(text))}}}"


_NAMES = ("dns.query", "dns.queries.rrname", "dns.answer.name", "dns.answers.rrname", "dns.response.rrname")
_HTTP = {
    "http.uri": "uri: TEXT", "http.uri.raw": "uri: TEXT", "http.request_line": "uri: TEXT",
    "http.method": "method: TEXT",
    "http.user_agent": "headers: {User-Agent: TEXT}", "http.referer": "headers: {Referer: TEXT}",
    "http.host": "headers: {Host: TEXT}", "http.host.raw": "headers: {Host: TEXT}",
    "http.cookie": "headers: {Cookie: TEXT}", "http.accept": "headers: {Accept: TEXT}",
    "http.accept_lang": "headers: {Accept-Language: TEXT}", "http.accept_enc": "headers: {Accept-Encoding: TEXT}",
    "http.content_type": "headers: {Content-Type: TEXT}", "http.header": "headers: {X-Example: TEXT}",
    "http.header.raw": "headers: {X-Example: TEXT}", "http.request_body": "method: POST, body: TEXT",
    "file.data": "method: POST, body: TEXT", "http.response_body": "status: 200, response_body: TEXT",
    "http.server": "status: 200, response_headers: {Server: TEXT}",
    "http.location": "status: 302, response_headers: {Location: TEXT}",
}  # fmt: skip
"""Requests and responses by the buffer that they fill."""


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
