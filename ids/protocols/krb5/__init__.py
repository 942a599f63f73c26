"""Kerberos 5 over UDP and TCP: requests for tickets, answers and errors, each a transaction.

- `message` reads one message, `names` spells its numbers;
- `parser` reads the messages of a flow; `settings` has the limits;
- `said` makes what rules test and EVE logs.
"""

from ids.protocols.krb5.message import kind_of
from ids.protocols.krb5.parser import FROM_CLIENT, FROM_SERVER, Krb5Flow
from ids.protocols.krb5.settings import Krb5Settings
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT


def is_message(data: bytes) -> bool:
    """Return whether a datagram is a message of Kerberos."""
    return kind_of(data) is not None


PROTOCOL = Protocol(
    name="krb5",
    from_client=FROM_CLIENT,
    from_server=FROM_SERVER,
    datagram=is_message,
    settings=Krb5Settings,
    streams=parsing("krb5", Krb5Flow),
    datagrams=parsing("krb5", Krb5Flow),
    oddities=("malformed_data", "weak_encryption"),
    event="krb5",
    of_sender=True,
    buffers=(
        Buffer("krb5.cname", "krb5", _SERVER, "name of the client in an answer: each of its parts", several=True),
        Buffer("krb5.sname", "krb5", _SERVER, "name of the service in an answer: each of its parts", several=True),
        Buffer("krb5.msg_type", "krb5", None, "type of the message, decimal"),
        Buffer("krb5.err_code", "krb5", _SERVER, "code of an error, decimal"),
        Buffer(
            "krb5.ticket_encryption", "krb5", _SERVER,
            "encryption of the ticket: its number, its name, and `weak` where it is", several=True,
        ),
        Buffer("krb5.realm", "krb5", None, "realm of the client in an answer, of the service in a request"),
        Buffer("krb5.request_cname", "krb5", _CLIENT, "name of who asks: each of its parts", several=True),
        Buffer("krb5.request_sname", "krb5", _CLIENT, "name of what is asked for: each of its parts", several=True),
        Buffer("krb5.request_encryption", "krb5", _CLIENT, "kinds of encryption that are offered", several=True),
    ),
)  # fmt: skip

__all__ = ["PROTOCOL", "Krb5Settings"]
