"""SSH: banners and key exchange offers, the part of a connection that is in clear, become one transaction.

- `parser` reads a connection; `exchange` an offer, and makes HASSH of it; `settings` are the limits.

What is encrypted is not kept, and not looked at: whether a login failed is not guessed from sizes of packets.
"""

from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.protocols.ssh.parser import SshConnection
from ids.protocols.ssh.settings import SshSettings
from ids.protocols.starts import NO_REQUEST
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

PROTOCOL = Protocol(
    name="ssh",
    from_client=rb"SSH-[12]\." + NO_REQUEST,
    from_server=rb"SSH-[12]\.",
    strict=True,
    settings=SshSettings,
    streams=parsing("ssh", SshConnection),
    oddities=("invalid_banner", "long_banner", "invalid_record"),
    event="ssh",
    buffers=(
        Buffer("ssh.proto", "ssh", None, "protocol version of the banner"),
        Buffer("ssh.software", "ssh", None, "software of the banner"),
        Buffer("ssh.hassh", "ssh", _CLIENT, "HASSH of the client, hexadecimal"),
        Buffer("ssh.hassh.string", "ssh", _CLIENT, "algorithms that the client offers, of which HASSH is made"),
        Buffer("ssh.hassh.server", "ssh", _SERVER, "HASSH of the server, hexadecimal"),
        Buffer("ssh.hassh.server.string", "ssh", _SERVER, "algorithms that the server offers"),
    ),
)

__all__ = ["PROTOCOL", "SshSettings"]
