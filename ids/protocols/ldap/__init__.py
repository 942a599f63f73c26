"""LDAP over TCP and UDP: operations with their answers, and who logs on by NTLM.

- `message` reads a message; `parser` finds the answers to an operation, and hands over to TLS;
- `settings` has the limits.

What SASL signs is read, what it encrypts is counted.
"""

from ids.protocols.ldap.message import is_message
from ids.protocols.ldap.parser import FROM_CLIENT, FROM_SERVER, LdapFlow
from ids.protocols.ldap.settings import LdapSettings
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

PROTOCOL = Protocol(
    name="ldap",
    from_client=FROM_CLIENT,
    from_server=FROM_SERVER,
    datagram=is_message,
    settings=LdapSettings,
    streams=parsing("ldap", LdapFlow),
    datagrams=parsing("ldap", LdapFlow),
    oddities=("malformed_data",),
    event="ldap",
    buffers=(
        Buffer("ldap.request.operation", "ldap", _CLIENT, "operation: `search_request`, `bind_request`"),
        Buffer("ldap.request.dn", "ldap", _CLIENT, "name of the entry that the operation is about"),
        Buffer("ldap.request.attribute_type", "ldap", _CLIENT, "types of attributes that it names", several=True),
        Buffer("ldap.ntlmssp_user", "ldap", _CLIENT, "user who logs on by NTLM"),
        Buffer("ldap.ntlmssp_domain", "ldap", _CLIENT, "domain of the user who logs on by NTLM"),
        Buffer("ldap.responses.operation", "ldap", _SERVER, "answer: `search_result_entry`, `bind_response`"),
        Buffer("ldap.responses.dn", "ldap", _SERVER, "name of the entry in the answer"),
        Buffer("ldap.responses.attribute_type", "ldap", _SERVER, "types of the entry's attributes", several=True),
        Buffer("ldap.responses.result_code", "ldap", _SERVER, "how it ended: `success`, `invalid_credentials`"),
        Buffer("ldap.responses.message", "ldap", _SERVER, "what the server says to it"),
    ),
)

__all__ = ["PROTOCOL", "LdapSettings"]
