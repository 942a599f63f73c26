"""Streams become protocol exchanges: what comes in are chunks of TCP streams, what goes out are transactions.

In: `ids.types.StreamChunk`, from `ids.flow`. Out: `ids.types.Transaction`, with named buffers for `ids.rules`.

- `detect` recognises a protocol by the first bytes of a stream, on any port;
- `http` parses HTTP/1, both directions of a connection; `head`, `uri` and `content` read its parts;
- `registry` gives each flow its parser, and takes it away again from one that fails.
"""

from ids.protocols.registry import Parsers
from ids.protocols.settings import HttpSettings, ProtocolSettings

__all__ = ["HttpSettings", "Parsers", "ProtocolSettings"]
