"""Bytes become protocol exchanges: what comes in are the streams and datagrams of a batch, what goes out transactions.

In: `ids.types.Streams` and `Datagrams`, from `ids.flow`. Out: `ids.types.Transactions`, with named buffers for
`ids.rules`; `FlowColumns.app_proto` is set on the way.

- `protocol` says what a protocol is: one descriptor, from which all else follows; `stretch` what its parsers are fed;
- `registry` lists the descriptors; `recognised` has those without a parser;
- a package each has the larger parsers (`dns`, `http`, `smb`), `rare` the smaller ones, a module each;
- what several of them use: `framing` cuts streams into messages, `dialogue` does all but reading them for a protocol of
  messages, `shared` is what the parsers of one protocol have in common, `der` reads ASN.1, `mime` mails, `charsets`
  their text, `ntlmssp` who logs on, `files` keeps what is transferred, `expected` knows the connections that another
  one announces;
- `made` makes their buffers when something asks, `spelling` has how EVE spells bytes;
- `recognition` finds a protocol by the first bytes of a stream or by a datagram, on any port;
- `settings` are the limits of all parsers together;
- `stage` takes batches; `feeding` gives each flow its parser, hands it over to another, and takes it away from one that
  fails, `datagrams` does so for those of UDP, and `brief` takes whole exchanges; `talk` is what they know of one flow,
  `sides` notes where its two sides do not go together,
  `prelude` what is kept until its protocol shows, `rivals` a second reading, `register` what the columns of flows say.
"""

from ids.protocols.protocol import ODDITY, Buffer, Handover, Protocol, Setup
from ids.protocols.recognition import FAILED
from ids.protocols.registry import (
    BUFFERS,
    BY_NAME,
    EVENT_OF,
    EVENT_TYPES,
    FAMILIES,
    ODDITIES,
    OF_SENDER,
    OTHER_NAMES,
    PROTOCOLS,
    meant,
)
from ids.protocols.settings import ProtocolSettings
from ids.protocols.stage import Protocols

__all__ = [
    "BUFFERS",
    "BY_NAME",
    "EVENT_OF",
    "EVENT_TYPES",
    "FAILED",
    "FAMILIES",
    "ODDITIES",
    "ODDITY",
    "OF_SENDER",
    "OTHER_NAMES",
    "PROTOCOLS",
    "Buffer",
    "Handover",
    "Protocol",
    "ProtocolSettings",
    "Protocols",
    "Setup",
    "meant",
]
