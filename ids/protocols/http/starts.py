"""How HTTP/1 messages begin: strictly, to find one again; leniently, to recognise the protocol."""

from __future__ import annotations

_METHODS = (
    rb"GET|POST|HEAD|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|SEARCH|REPORT|"
    rb"SUBSCRIBE|UNSUBSCRIBE|NOTIFY|M-SEARCH|TRACK|DEBUG|INVOKE|PURGE|RPC_IN_DATA|RPC_OUT_DATA|BPROPFIND|BITS_POST"
)
"""Methods whose name alone is enough to recognise HTTP: RFC 9110, RFC 4918, RFC 3253, and usage."""

REQUEST_START = rb"(?:" + _METHODS + rb")[ \t]+[^ \t\r\n]"
RESPONSE_START = rb"(?i:HTTP)/\d\.\d[ \t]+\d{3}"

FROM_CLIENT = (
    rb"[\r\n]{0,8}(?:(?i:"
    + REQUEST_START
    + rb")|[^\s\x00:]{1,64}[ \t]+(?:[/*]|[A-Za-z]+://|[^\r\n]{0,400}[ \t]HTTP/\d))"
)
FROM_SERVER = rb"[\r\n\t \0]{0,8}(?i:HTTP)/\d"
