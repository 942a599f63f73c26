"""FTP: commands and replies, and the data connections that they announce, whose content are files.

- `parser` reads a control connection, `data` what a data connection carries; `settings` are the limits.

AUTH TLS hands the control connection over; from then on, data connections are not announced in clear.
"""

from ids.protocols.ftp.data import SharedData
from ids.protocols.ftp.parser import FtpSession
from ids.protocols.ftp.settings import FtpSettings
from ids.protocols.protocol import Buffer, Protocol
from ids.protocols.shared import parsing
from ids.protocols.starts import NO_REQUEST
from ids.types import Direction

_CLIENT, _SERVER = Direction.TO_SERVER, Direction.TO_CLIENT

PROTOCOL = Protocol(
    name="ftp",
    from_client=rb"(?i:USER|PASS|AUTH|OPTS|HOST|CLNT)[ \t]" + NO_REQUEST + rb"|(?i:FEAT|SYST)[ \t]*[\r\n]",
    from_server=rb"220[ -][^\r\n]*(?i:FTP)",
    server_prelude=rb"220[ -](?s:.*)",
    greets=True,
    commands=rb"[\r\n]*(?i:USER|PASS|ACCT|CWD|XCWD|CDUP|XCUP|SMNT|QUIT|REIN|PORT|PASV|EPRT|EPSV|TYPE|STRU|MODE|RETR|STOR"
    rb"|STOU|APPE|ALLO|REST|RNFR|RNTO|ABOR|DELE|RMD|XRMD|MKD|XMKD|PWD|XPWD|LIST|NLST|MLSD|MLST|SITE|SYST|STAT|HELP"
    rb"|NOOP|FEAT|OPTS|AUTH|PBSZ|PROT|CCC|MDTM|SIZE|LANG|HOST|CLNT)(?=[ \t\r\n])",
    settings=FtpSettings,
    streams=parsing("ftp", FtpSession),
    oddities=("request_command_too_long", "response_command_too_long"),
    event="ftp",
    buffers=(
        Buffer("ftp.command", "ftp", _CLIENT, "command word, in capitals"),
        Buffer("ftp.command_data", "ftp", _CLIENT, "argument of the command"),
        Buffer("ftp.reply", "ftp", _SERVER, "lines of the replies, without their codes", several=True),
        Buffer("ftp.completion_code", "ftp", _SERVER, "codes of the replies", several=True),
        Buffer("ftp.mode", "ftp", None, "of the data connection that is announced: `active` or `passive`"),
        Buffer("ftp.dynamic_port", "ftp", None, "port of the data connection that is announced, decimal"),
        Buffer("ftp.reply_received", "ftp", _SERVER, "`yes` or `no`"),
        Buffer("ftp.bounce", "ftp", _CLIENT, "address that PORT or EPRT names and that is not the client's, 16 bytes"),
    ),
)
DATA = Protocol(
    name="ftp-data",
    announced=True,
    streams=SharedData,
    event="ftp_data",
    buffers=(Buffer("ftpdata.command", "ftp-data", None, "command that asked for the transfer: `RETR`, `STOR`"),),
)

__all__ = ["DATA", "PROTOCOL", "FtpSettings"]
