"""HTTP/2: both directions of a connection become the requests and responses of its streams, with HTTP/1's buffers.

- `frames` has what frames look like; `settings` the limits;
- `parser` reads a connection: frames, header blocks and data become streams; `side` is one direction of it, `streams`
  what is known of a stream, `control` reads the frames that are no messages;
- `hpack` decodes headers, `heads` makes buffers of them;
- `reports` makes the transactions.
"""

from ids.protocols.http2.frames import FROM_SERVER
from ids.protocols.http2.parser import Connection, SharedSockets
from ids.protocols.http2.settings import Http2Settings
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing

ODDITIES = (
    "invalid_client_magic",
    "invalid_frame_data",
    "invalid_frame_length",
    "long_frame_data",
    "invalid_header",
    "header_integer_overflow",
    "extra_header_data",
    "failed_decompression",
    "invalid_range",
    "reassembly_limit_reached",
    "stream_id_reuse",
    "too_many_streams",
    "invalid_http1_settings",
    "userinfo_in_uri",
    "authority_host_mismatch",
    "connection_header",
    "line_end_in_header",
    "length_mismatch",
    "header_bomb",
    "continuation_flood",
    "rapid_reset",
    "flood",
)

PROTOCOL = Protocol(
    name="http2",
    from_client=rb"PRI \* HTTP/2\.0\r\n",
    from_server=FROM_SERVER,
    settings=Http2Settings,
    streams=parsing("http2", Connection, SharedSockets),
    event="http",
    oddities=ODDITIES,
    buffers=tuple(
        Buffer(name, "http2", None, text, several=True)
        for name, text in (
            ("http2.header_name", "names of the headers"),
            ("http2.header", "each header with its name: `accept: */*`"),
            ("http2.frametype", "types of the frames, decimal"),
            ("http2.errorcode", "error code of RST_STREAM or GOAWAY, decimal"),
            ("http2.priority", "weight of a priority, decimal"),
            ("http2.window", "increment of WINDOW_UPDATE, decimal"),
            ("http2.size_update", "new size of the table of headers, decimal"),
            ("http2.settings", "each setting with its value: `SETTINGS_ENABLE_PUSH 0`"),
        )
    ),
)

__all__ = ["PROTOCOL", "Http2Settings"]
