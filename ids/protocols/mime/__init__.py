"""MIME: messages as mail carries them, cut into headers and parts while they come.

- `reader` reads a message; `headers` its headers and their parameters; `decoding` undoes transfer encodings;
- `lines` measures lines;
- `mail` is what a mail says of itself: buffers for rules, EVE's ``email`` object, and its attachments as files.

Python's `email` package is no base for this. Its parser keeps the whole message and a list of its lines, cannot be
bounded, and gives parts only at the end; one header of nested comments takes it quadratic time.
"""

from ids.protocols.mime.mail import EMAIL_BUFFERS, Mail
from ids.protocols.mime.reader import Leaf, Reader
from ids.protocols.mime.settings import MailSettings

__all__ = ["EMAIL_BUFFERS", "Leaf", "Mail", "MailSettings", "Reader"]
