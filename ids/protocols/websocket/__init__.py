"""WebSocket: what comes after HTTP, once both sides have agreed on it: messages with named buffers.

- `settings` has the limits; `frames` reads a frame and unmasks it;
- `inflating` decompresses messages (permessage-deflate);
- `parser` puts messages together, of a flow after HTTP/1 or of a stream of HTTP/2.
"""

from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.protocols.websocket.parser import Connection
from ids.protocols.websocket.settings import WebSocketSettings

PROTOCOL = Protocol(
    name="websocket",
    agreed=True,
    settings=WebSocketSettings,
    streams=parsing("websocket", Connection),
    event="websocket",
    oddities=("reassembly_limit_reached", "not_masked", "flood"),
    buffers=(
        Buffer("websocket.payload", "websocket", None, "what a message says, unmasked, put together, decompressed"),
        Buffer("websocket.opcode", "websocket", None, "what a message is, decimal: 1 is text, 2 binary, 9 ping"),
        Buffer("websocket.flags", "websocket", None, "flags of a frame, decimal: 128 is fin, 64 compressed"),
        Buffer("websocket.mask", "websocket", None, "what a frame was masked with, decimal"),
    ),
)

__all__ = ["PROTOCOL", "WebSocketSettings"]
