"""`app-layer-protocol` by itself is judged when the protocol is found, and not at each packet behind that."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.testing import Session, to_client
from plugins.rules import Rules

ASK = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.mark.parametrize(("options", "alerts"), [
    ("flow:to_server; app-layer-protocol:http;", 1),
    ("flow:to_client; app-layer-protocol:http;", 1),
    ("flow:to_server; app-layer-protocol:!tls; app-layer-protocol:!dns;", 1),
    ("flow:to_server; app-layer-protocol:tls;", 0),
    ("flow:to_server,established; app-layer-protocol:http;", 4),  # behind the packet by which it was found
    ("flow:to_server; app-layer-protocol:http; dsize:>0;", 2),
])  # fmt: skip
def test_how_often_a_rule_on_the_protocol_alerts(tmp_path: Path, options: str, alerts: int) -> None:
    path = tmp_path / "r.rules"
    path.write_text(f'alert tcp any any -> any any (msg:"x"; {options} sid:1; rev:1;)\n')
    session = Session(f"rules.paths=[{path}]", "rules.strict=true", rules=Rules())
    session.tcp(ASK, OK, ASK, OK, ASK, OK)
    session.end()
    assert len(session.sids) == alerts
