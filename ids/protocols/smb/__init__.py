"""SMB 1, 2 and 3 over TCP and NetBIOS: commands with their answers, trees, files, and calls through pipes.

- `starts` has the first bytes of messages, `settings` the limits;
- `parser` cuts a flow into messages; `connection` keeps its exchanges and what is open (`opened`); `first` and `second`
  say what the commands of the two versions do to it, `wire1` and `wire2` read their bytes;
- `transfers` puts the pieces of files in order; `logon` says who logs on, `ticket` reads Kerberos;
- `about` is what EVE logs of an exchange, with `names` and `status`; `buffers` makes what rules test.

What is encrypted (SMB 3) is counted, and not looked at.
"""

from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.protocols.smb.connection import SharedCalls
from ids.protocols.smb.parser import SmbParser
from ids.protocols.smb.settings import SmbSettings
from ids.protocols.smb.starts import FROM_CLIENT, FROM_SERVER
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

PROTOCOL = Protocol(
    name="smb",
    from_client=FROM_CLIENT,
    from_server=FROM_SERVER,
    strict=True,
    settings=SmbSettings,
    streams=parsing("smb", SmbParser, SharedCalls),
    oddities=(
        "malformed_data",
        "malformed_ntlmssp_request",
        "duplicate_negotiate",
        "negotiate_malformed_dialects",
        "negotiate_max_read_size_too_large",
        "negotiate_max_write_size_too_large",
        "read_request_too_large",
        "read_response_too_large",
        "write_request_too_large",
        "file_overlap",
        "write_queue_size_exceeded",
        "write_queue_cnt_exceeded",
        "read_queue_size_exceeded",
        "read_queue_cnt_exceeded",
        "too_many_transactions",
    ),
    event="smb",
    buffers=(
        Buffer("smb.share", "smb", _CLIENT, "share of a tree connect, or that a file is written to"),
        Buffer("smb.named_pipe", "smb", _CLIENT, "name of the tree of pipes that is connected to"),
        Buffer("smb.ntlmssp_user", "smb", _CLIENT, "user who logs on by NTLM"),
        Buffer("smb.ntlmssp_domain", "smb", _CLIENT, "domain of the user who logs on by NTLM"),
        Buffer("smb.filename", "smb", _CLIENT, "name of what is opened, changed or transferred", several=True),
        Buffer("smb.command", "smb", None, "command, as EVE spells it: `SMB2_COMMAND_CREATE`"),
        Buffer("smb.version", "smb", None, "version of the message: `1`, or `2` for 2 and 3"),
        *(
            Buffer(f"smb.frame.{layer}.{part}", "smb", None, f"{what} {whose} as sent", several=True)
            for layer, whose in (("nbss", "of NetBIOS"), ("smb1", "of SMB 1"), ("smb2", "of SMB 2"))
            for part, what in (("pdu", "a message"), ("hdr", "head of a message"), ("data", "rest of a message"))
        ),
        Buffer("smb.status", "smb", _SERVER, "status of the answer: `STATUS_ACCESS_DENIED`"),
    ),
)

__all__ = ["PROTOCOL", "SmbSettings"]
