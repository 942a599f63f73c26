"""SMTP: envelopes and mails, with their parts and attachments; commands are told from mails by what the server answers.

- `parser` reads a session; `exchanges` are its transactions, and what is reported of them; `settings` are the limits;
- `body` finds where a mail ends, `beyond` reads it on for servers that see no end there;
- what is in a mail is read by `ids.protocols.mime`.

Mails in chunks (BDAT) are read like those behind DATA, which Suricata 7 leaves out. STARTTLS hands the flow over.
"""

from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.protocols.smtp.parser import SmtpSession
from ids.protocols.smtp.settings import SmtpSettings
from ids.protocols.starts import NO_REQUEST
from ids.types import Direction

_CLIENT = Direction.TO_SERVER

PROTOCOL = Protocol(
    name="smtp",
    from_client=rb"(?i:EHLO|HELO|LHLO)(?:[ \t]" + NO_REQUEST + rb"|[\r\n])",
    from_server=rb"220[ -][^\r\n]*(?i:SMTP|mail)",
    server_prelude=rb"220[ -](?s:.*)",
    within=(b"lo ", rb"(?i:EHLO|HELO|LHLO) +[^\s/]+[ \t]*\r?\n"),
    greets=True,
    commands=rb"[\r\n]*(?i:EHLO|HELO|LHLO|MAIL|RCPT|DATA|BDAT|RSET|VRFY|EXPN|HELP|NOOP|QUIT|TURN|ETRN|AUTH|STARTTLS"
    rb"|XCLIENT|XFORWARD|SEND|SOML|SAML|BURL)(?=[ \t\r\n:])",
    settings=SmtpSettings,
    streams=parsing("smtp", SmtpSession),
    oddities=(
        "invalid_reply",
        "max_command_line_len_exceeded",
        "max_reply_line_len_exceeded",
        "invalid_pipelined_sequence",
        "bdat_chunk_len_exceeded",
        "no_server_welcome_message",
        "tls_rejected",
        "failed_protocol_change",
        "data_command_rejected",
        "mime_malformed_msg",
        "mime_invalid_base64",
        "mime_long_header_name",
        "mime_long_header_value",
        "mime_invalid_qp",
        "mime_long_line",
        "mime_long_enc_line",
        "mime_long_boundary",
        "duplicate_fields",
        "unparsable_content",
        "mime_long_filename",
        "truncated_line",
        "ambiguous_end_of_data",
    ),
    event="smtp",
    beside=("email",),
    buffers=(
        Buffer("smtp.helo", "smtp", _CLIENT, "argument of HELO, EHLO or LHLO", several=True),
        Buffer("smtp.mail_from", "smtp", _CLIENT, "sender of the envelope, with its brackets", several=True),
        Buffer("smtp.rcpt_to", "smtp", _CLIENT, "recipients of the envelope, with their brackets", several=True),
    ),
)

__all__ = ["PROTOCOL", "SmtpSettings"]
