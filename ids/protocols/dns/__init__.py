"""DNS over UDP and TCP: messages become queries and answers with named buffers, on any port.

- `starts` has the first bytes of messages; `settings` the limits;
- `parser` reads the messages of a flow, and finds the answer to a query;
- `message` reads one message, with `names`; `records` what is in the data of its records;
- `buffers` makes what rules test, `fields` what EVE logs.
"""

from ids.protocols.dns.fields import in_alert
from ids.protocols.dns.parser import DnsFlow
from ids.protocols.dns.settings import DnsSettings
from ids.protocols.dns.starts import (
    BEGINS,
    FOREIGN_PORTS,
    FROM_CLIENT,
    FROM_SERVER,
    HEADER,
    LENGTH,
    is_message,
    size_of,
)
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.protocols.walked import Walked
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

PROTOCOL = Protocol(
    name="dns",
    by_message=True,
    from_client=FROM_CLIENT,
    from_server=FROM_SERVER,
    datagram=is_message,
    foreign_ports=FOREIGN_PORTS,
    usual_ports=frozenset({53}),
    walked=Walked(frozenset({53}), size_of, BEGINS[0], LENGTH + HEADER + 5),
    settings=DnsSettings,
    streams=parsing("dns", DnsFlow),
    datagrams=parsing("dns", DnsFlow),
    oddities=(
        "malformed_data",
        "not_a_request",
        "not_a_response",
        "z_flag_set",
        "invalid_opcode",
        "name_too_long",
        "infinite_loop",
        "too_many_labels",
    ),
    event="dns",
    in_alert=in_alert,
    buffers=(
        Buffer("dns.query", "dns", _CLIENT, "name asked for", several=True),
        Buffer("dns.frame.pdu", "dns", None, "a message as it was sent, without its length in a stream"),
        Buffer("dns.queries.rrname", "dns", None, "name asked for, of queries and answers", several=True),
        Buffer("dns.answer.name", "dns", _SERVER, "names in the answer section", several=True),
        Buffer("dns.answers.rrname", "dns", None, "names in the answer section", several=True),
        Buffer("dns.authorities.rrname", "dns", None, "names in the authority section", several=True),
        Buffer("dns.additionals.rrname", "dns", None, "names in the additional section", several=True),
        Buffer("dns.response.rrname", "dns", _SERVER, "names in an answer, and those that records name", several=True),
        Buffer("dns.opcode", "dns", None, "operation code, decimal"),
        Buffer("dns.rcode", "dns", None, "response code, decimal"),
        Buffer("dns.rrtype", "dns", None, "type asked for, decimal", several=True),
    ),
)

__all__ = ["PROTOCOL", "DnsSettings"]
