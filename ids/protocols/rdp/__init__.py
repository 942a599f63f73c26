"""RDP up to where its session begins: what is offered and chosen, and what a client says of itself; then TLS goes on.

- `message` reads a message, `names` spells its numbers;
- `parser` reads a connection, and hands it over to TLS; `settings` has the limits.
"""

from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.rdp.parser import FROM_CLIENT, FROM_SERVER, RdpConnection
from ids.protocols.rdp.settings import RdpSettings
from ids.protocols.shared import parsing
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

PROTOCOL = Protocol(
    name="rdp",
    from_client=FROM_CLIENT,
    from_server=FROM_SERVER,
    settings=RdpSettings,
    streams=parsing("rdp", RdpConnection),
    event="rdp",
    buffers=(
        Buffer("rdp.event_type", "rdp", None, "what the message is: `initial_request`, `connect_request`"),
        Buffer("rdp.cookie", "rdp", _CLIENT, "user that a client names before it logs on (`mstshash`)"),
        Buffer("rdp.protocol", "rdp", _SERVER, "security that the server chooses: `rdp`, `ssl`, `hybrid`"),
        Buffer("rdp.client_name", "rdp", _CLIENT, "name of the client's computer"),
        Buffer("rdp.build", "rdp", _CLIENT, "Windows of the client: `Windows 10 RS5`"),
        Buffer("rdp.keyboard_layout", "rdp", _CLIENT, "language of the client's keyboard: `en-US`"),
        Buffer("rdp.channels", "rdp", _CLIENT, "virtual channels that are asked for", several=True),
    ),
)

__all__ = ["PROTOCOL", "RdpSettings"]
