"""DCE/RPC over TCP and UDP; SMB has its calls through named pipes by the same modules.

- `pdu` reads messages; `calls` puts fragments together, and finds the call that an answer belongs to;
- `parser` reads a TCP flow, `datagrams` a UDP flow; `settings` has the limits;
- `buffers` makes what rules test, `fields` what EVE logs.
"""

from ids.protocols.dcerpc.buffers import BUFFERS
from ids.protocols.dcerpc.datagrams import DcerpcDatagrams, is_datagram
from ids.protocols.dcerpc.parser import FROM_CLIENT, FROM_SERVER, DcerpcConnection, SharedCalls
from ids.protocols.dcerpc.settings import DcerpcSettings
from ids.protocols.protocol import Protocol
from ids.protocols.shared import parsing

PROTOCOL = Protocol(
    name="dcerpc",
    by_message=True,
    from_client=FROM_CLIENT,
    from_server=FROM_SERVER,
    datagram=is_datagram,
    settings=DcerpcSettings,
    streams=parsing("dcerpc", DcerpcConnection, SharedCalls),
    datagrams=parsing("dcerpc", DcerpcDatagrams),
    event="dcerpc",
)

__all__ = ["BUFFERS", "PROTOCOL", "DcerpcSettings"]
