"""How HTTP/1 messages begin: strictly, to find one again; leniently, to recognise the protocol."""

from __future__ import annotations

_METHODS = (
    rb"GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|SEARCH|REPORT|"
    rb"SUBSCRIBE|UNSUBSCRIBE|NOTIFY|M-SEARCH|TRACK|DEBUG|INVOKE|PURGE|RPC_IN_DATA|RPC_OUT_DATA|BPROPFIND|BITS_POST"
)
"""Methods whose name alone is enough to recognise HTTP: RFC 9110, RFC 4918, RFC 3253, and usage."""

REQUEST_START = rb"(?:" + _METHODS + rb")[ \t]+[^ \t\r\n]"
RESPONSE_START = rb"(?i:HTTP)/\d\.\d[ \t]+\d{3}"

_ANY_METHOD = rb"[^\t-\r \x00:]"
"""Bytes of which a method may be made, as far as some server takes it."""

CLIENT_PRELUDE = rb"[\r\n]*" + _ANY_METHOD + rb"*[ \t]*"
"""What says nothing yet: servers skip any number of empty lines, and take long methods and many spaces."""

# The target begins where the spaces end, and nowhere before: else a run of spaces would cost its square.
FROM_CLIENT = (
    rb"[\r\n]*(?:(?i:"
    + REQUEST_START
    + rb")|"
    + _ANY_METHOD
    + rb"+[ \t]+(?:[/*]|[A-Za-z]+://|[^ \t\r\n][^\r\n]{0,399}[ \t]HTTP/\d|(?<=[ \t][ \t])HTTP/\d))"
)
SERVER_PRELUDE = rb"[\r\n\t \0]+"
FROM_SERVER = rb"[\r\n\t \0]*(?i:HTTP)/\d"
