"""Files that protocols carry: what every parser hands over, and what rules, events and the file store get of it.

FOR WHO WRITES A PARSER. `Setup.files` is the `Files` that all flows share. A file is opened where its name is known (or
its first byte, where it has none), gets its bytes as they come, and ends once::

    file = setup.files.open(slot, "smtp", tx_id, Direction.TO_SERVER, name=b"a.pdf", fields=fields, beside=buffers)
    file.append(data, ts_ns, number, out)      # any number of times; also with what was decoded: base64, gzip
    file.gap(size)                             # bytes of it that were lost
    file.close(ts_ns, number, out)             # it is complete
    file.truncate(ts_ns, number, out)          # it ended early: a reset, a limit, the end of the flow

- ``fields``: what EVE logs of the exchange, as `Transaction.fields`: the object under the protocol's name beside
  ``fileinfo``; a function where it is not all known yet: it is called when the event is written.
- ``beside``: other buffers of the same side of the exchange (``smtp.mail_from``), so that one rule can ask for both.
- ``out``: the list that the parser was given. The file is a `Transaction` of its own to rules, with the buffers of
  `FILE_BUFFERS`; it appears there while the file grows (``partial``) and when it ends. So a parser makes no
  ``file.data`` of its own. Where no rule asks for files, nothing is appended.
- A message whose whole body lies there: `Files.whole`, and `File.buffers` among its own buffers, as HTTP does; where
  `Files.plain` says that an event is all that is wanted, a `Body`.
- ``closed`` of `StreamParser.feed` comes at the end of every flow, also when it times out: end there what is open. In
  ``release``, call `File.release`: it writes no event, for the flow may be gone.
- Close once: `append`, `gap`, `close` and `truncate` on a file that has ended do nothing.
- `Files.active` is False where neither a rule nor an event nor the store wants files: a parser may leave them out then,
  and skip decoding for them.

COST. A digest is computed when something asks for it, once; only of a file beyond ``files.inspect_bytes`` it has to be
brought up to date with each piece, and then only where a rule, a setting or the store wants it. MEMORY: of each open
file the first ``inspect_bytes`` while somebody wants its content, all flows together ``files.memcap_bytes``; beyond
that, content is not kept, and counted (`files.memcap`).

- `file` is one file; `tracker` all of them; `magic` says what is in one; `names` reads names as they are sent;
- `settings` has the limits.
"""

from ids.protocols.files.file import COST, FILE_BUFFERS, FieldsOf, File, State
from ids.protocols.files.settings import FileSettings
from ids.protocols.files.tracker import Body, Files

__all__ = ["COST", "FILE_BUFFERS", "Body", "FieldsOf", "File", "FileSettings", "Files", "State"]
