"""Who logs on in a session setup, of either version: by NTLM, or with a Kerberos ticket."""

from __future__ import annotations

from ids.protocols import ntlmssp
from ids.protocols.smb.about import Setup
from ids.protocols.smb.ticket import ticket


def setup_of(token: bytes) -> tuple[Setup, list[bytes]]:
    """Return who logs on by a token, and what is odd about it."""
    try:
        logon = ntlmssp.logon(token)
    except ntlmssp.Malformed:
        return Setup(), [b"smb.malformed_ntlmssp_request"]
    return Setup(logon, ticket(token) if logon is None else None), []
