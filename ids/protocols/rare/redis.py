"""Redis, and what speaks as it does: commands, as arrays or in a line, and what came of them.

A command with its reply is a transaction. Replies have no names: they come in the order of the commands, but for what a
server says of itself (messages of channels, what MONITOR shows). `ids.protocols.rare.redis_values` reads the values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from pydantic import Field

from ids.later import late_pattern
from ids.protocols.dialogue import Dialogue, DialogueSettings, EveFields, Shared, speaking
from ids.protocols.framing import Lines, Message
from ids.protocols.protocol import Buffer, Handover, Protocol
from ids.protocols.rare.redis_values import SCRIPTS, ClientLines, Commands, Replies, Reply, Share
from ids.protocols.spelling import text
from ids.protocols.stretch import Stretch
from ids.protocols.waiting import Waiting
from ids.protocols.walked import Walked
from ids.types import Direction, Transaction

_CLIENT, _SERVER = Direction

LOGGED_BYTES = 256
"""Of each argument, and of a reply, that are logged."""
LOGGED_ARGUMENTS = 64
_HIDDEN = b"***"
_WITH_SECOND = frozenset(
    b"ACL CLIENT CLUSTER COMMAND CONFIG DEBUG FUNCTION LATENCY MEMORY MODULE OBJECT PUBSUB SCRIPT SENTINEL SLOWLOG"
    b" XGROUP XINFO".split()
)
"""Commands that are several: the second word says which."""
_TELLS = _WITH_SECOND | SCRIPTS | frozenset(b"FCALL FCALL_RO MIGRATE REPLICAOF SLAVEOF".split())
"""Commands that are odd where not all of them was kept; the values that others carry are long as a rule."""
_SECRETS = frozenset({b"requirepass", b"masterauth", b"tls-key-file-pass", b"tls-client-key-file-pass"})
"""What CONFIG SET sets that is a password."""
_SUBSCRIBES = frozenset(b"SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE".split())
"""Commands that are confirmed once for each channel."""
_MESSAGES = frozenset({b"message", b"pmessage", b"smessage"})
_SEEN = late_pattern(rb"\d+\.\d+ \[")
"""How a line of MONITOR begins: with a time."""


class RedisSettings(DialogueSettings):
    """Bounds of the Redis parser, and what it logs."""

    argument_bytes: int = Field(
        default=4096,
        ge=16,
        le=1024 * 1024,
        description="Bytes of one argument, and of a string that is a reply, that are read; of a longer one the first"
        " so many count. Of a command `message_bytes` are read in all, and as many of a script.",
    )
    open_requests: int = Field(
        default=1024,
        ge=1,
        le=65536,
        description="Commands of one flow that wait for their reply; the oldest gives way. Clients send hundreds at"
        " once.",
    )
    passwords: bool = Field(default=False, description="Write passwords to events; rules see them in any case.")


class Exchange:
    """A command and what came back."""

    __slots__ = ("arguments", "awaited", "command", "cut", "number", "reply", "tx_id")

    def __init__(self, tx_id: int, command: bytes, arguments: list[bytes]) -> None:
        self.tx_id = tx_id
        self.command = command
        """In capitals."""
        self.arguments = [one[: LOGGED_BYTES + 1] for one in arguments[:LOGGED_ARGUMENTS]]
        """As they are logged, and a byte more where they are longer."""
        self.number = len(arguments)
        """Of all, logged or not."""
        self.cut = False
        self.awaited = 1
        """Replies that it has, the last one included."""
        self.reply: Reply | None = None

    def logged(self) -> EveFields:
        """Return what EVE logs of it."""
        fields: dict[str, Any] = {"command": text(self.command)}
        if self.arguments:
            fields["arguments"] = [text(one[:LOGGED_BYTES]) for one in self.arguments]
        if self.number > len(self.arguments):
            fields["arguments_count"] = self.number
        if self.cut or self.number > len(self.arguments) or any(len(one) > LOGGED_BYTES for one in self.arguments):
            fields["arguments_truncated"] = True
        reply = self.reply
        if reply is None:
            return fields
        answered: dict[str, Any] = {"type": reply.kind}
        if reply.number is not None:
            answered["bytes" if reply.kind in ("string", "verbatim", "error") else "elements"] = reply.number
        if reply.value is not None and reply.kind != "null":
            answered["value"] = text(reply.value[:LOGGED_BYTES])
            if reply.cut or len(reply.value) > LOGGED_BYTES:
                answered["truncated"] = True
        fields["response"] = answered
        return fields


class RedisFlow(Dialogue):
    """Both directions of a flow."""

    protocol = "redis"

    __slots__ = (
        "_commands",
        "_lost",
        "_monitors",
        "_replication",
        "_replies",
        "_silent",
        "_skips",
        "_unpaired",
        "_waiting",
    )  # fmt: skip

    def __init__(self, shared: Shared, slot: int, tx_id: int) -> None:
        super().__init__(shared, slot, tx_id)
        settings = cast(RedisSettings, shared.settings)
        of_client, of_server = Share(shared.pool), Share(shared.pool)
        asks, says = ClientLines(of_client, settings.message_bytes), Lines(of_server, settings.message_bytes)
        self._cut.extend((asks, says))
        self._commands = Commands(asks, of_client, settings.argument_bytes, settings.message_bytes)
        self._replies = Replies(says, of_server, settings.argument_bytes)
        self._waiting: Waiting[int, Exchange] = Waiting(shared, settings.open_requests)
        """Commands without their reply, by their ids, the oldest first."""
        self._unpaired = 0
        """Replies to come whose commands gave way."""
        self._lost = False
        """Bytes of the server are missing: what comes, up to the next command, answers none that is known."""
        self._monitors = False
        """The server shows what other clients ask."""
        self._replication = False
        """What the server says are no replies any more."""
        self._silent = False
        """The client asked for no replies,"""
        self._skips = 0
        """or for none to so many commands."""

    def feed(self, stretch: Stretch, out: list[Transaction]) -> Handover | None:
        """Take the next bytes of a direction."""
        values = self._replies if stretch.direction is _SERVER else self._commands
        if stretch.gap > values.left:
            self._out, self._at = out, (stretch.ts_ns, stretch.number, len(stretch.data))
            self.count("gap")
            values.lose()
            self._finish_all()
            self._lost = True
        handover = super().feed(stretch, out)
        self._commands.settle()
        return handover

    def take(self, direction: Direction, message: Message) -> None:
        """Read a line, or a piece of a string."""
        if direction is _CLIENT:
            words = self._commands.take(message)
            if self._commands.odd:
                self.count("malformed")
                self.say(_CLIENT, {}, {}, self.new(), complete=False, odd=("malformed_command",))
            if words is not None:
                self._ask(words)
        elif not (self._replication or self._lost):
            reply = self._replies.take(message)
            if self._replies.odd:
                self.count("malformed")
                self.say(_SERVER, {}, {}, self.new(), complete=False, odd=("malformed_reply",))
                self._finish_all()
                self._lost = True
            if reply is not None:
                self._answer(reply)

    def end(self) -> None:
        """Say what was not answered."""
        self._finish_all()

    def release(self) -> None:
        """Give back the memory of a flow that is parsed no more."""
        super().release()
        self._commands.release()
        self._replies.release()
        self._waiting.release()

    # Clients.

    def _ask(self, words: list[bytes]) -> None:
        command, arguments = words[0].upper(), words[1:]
        odd = ("cut_command",) if self._commands.cut and command in _TELLS else ()
        if command in _WITH_SECOND and arguments:
            command, arguments = command + b" " + arguments[0].upper(), arguments[1:]
        shown, user, password = hidden(command, arguments)
        settings = cast(RedisSettings, self.shared.settings)
        exchange = Exchange(self.new(), command, arguments if settings.passwords else shown)
        exchange.number = self._commands.number - (len(words) - len(arguments))
        exchange.cut = self._commands.cut
        if command in _SUBSCRIBES:
            exchange.awaited = max(exchange.number, 1)
        said = {
            "redis.command": command, "redis.arguments": b" ".join(shown) if shown else None, "redis.user": user,
            "redis.password": password,
        }  # fmt: skip
        self.say(_CLIENT, said, exchange.logged, exchange.tx_id, complete=False, odd=odd)
        if not self._is_answered(command, arguments):
            self._finish(_CLIENT, exchange)
            return
        self._lost = self._lost and bool(self._unpaired)
        given_up = self._waiting.put(exchange.tx_id, exchange, sum(map(len, exchange.arguments)))
        for one in given_up:
            self._unpaired += one.awaited
            self._finish(_CLIENT, one)

    def _is_answered(self, command: bytes, arguments: list[bytes]) -> bool:
        """Return whether the server answers a command; a client may ask it not to."""
        if command == b"CLIENT REPLY" and arguments:
            how = arguments[0].upper()
            self._silent = how == b"OFF"
            if how == b"SKIP":
                self._skips = 2
        answered = not (self._silent or self._skips or self._replication)
        self._skips = max(self._skips - 1, 0)
        return answered

    # Servers.

    def _answer(self, reply: Reply) -> None:
        word = reply.elements[0] if reply.kind in ("push", "array") and reply.elements else b""
        exchange = self._waiting.oldest()
        if word.upper() in _SUBSCRIBES:
            if exchange is not None and exchange.command == word.upper():
                exchange.awaited -= 1
                if exchange.awaited <= 0:
                    self._reply(exchange, reply)
                return
            if reply.kind == "push":
                self.count("pushes")
                return
        if reply.kind == "push" or word in _MESSAGES or self._is_seen(reply):
            self.count("pushes")
        elif self._unpaired:
            self._unpaired -= 1
        elif exchange is not None:
            self._reply(exchange, reply)

    def _is_seen(self, reply: Reply) -> bool:
        """Return whether a line is what MONITOR shows."""
        return self._monitors and reply.kind == "status" and bool(_SEEN.match(reply.value or b""))

    def _reply(self, exchange: Exchange, reply: Reply) -> None:
        """Pair a reply with the command that has waited longest."""
        self._waiting.take(exchange.tx_id)
        exchange.reply = reply
        command = exchange.command
        if command == b"MONITOR" and reply.kind == "status":
            self._monitors = True
        elif command == b"RESET" and reply.kind == "status":
            self._monitors = False
        elif command in (b"SYNC", b"PSYNC") and reply.kind != "error":
            self.count("replication")
            self._replication = True
        self._finish(_SERVER, exchange)
        if self._replication:
            self._finish_all()

    def _finish(self, direction: Direction, exchange: Exchange) -> None:
        """End a transaction."""
        reply = exchange.reply
        said: dict[str, bytes | tuple[bytes, ...] | None] = {}
        if reply is not None:
            said["redis.reply_type"] = reply.kind.encode()
            said["redis.error" if reply.kind == "error" else "redis.reply"] = reply.value
        self.say(direction, said, exchange.logged, exchange.tx_id)

    def _finish_all(self) -> None:
        for exchange in self._waiting.rest():
            self._finish(_CLIENT, exchange)


def hidden(command: bytes, arguments: Sequence[bytes]) -> tuple[list[bytes], bytes | None, bytes | None]:
    """Return the arguments of a command with stars in place of passwords; the name, and the first password in it."""
    shown, places = list(arguments), list[int]()
    user: bytes | None = None
    if command == b"AUTH" and arguments:
        places = [min(len(arguments), 2) - 1]
        user = arguments[0] if len(arguments) > 1 else None
    elif command in (b"HELLO", b"MIGRATE"):
        words = [one.upper() for one in arguments]
        mark, with_user = next(
            (
                (at, word == b"AUTH2" or command == b"HELLO")
                for at, word in enumerate(words)
                if word in (b"AUTH", b"AUTH2")
            ),
            (len(words), False),
        )
        if mark + 1 + with_user < len(arguments):
            places = [mark + 1 + with_user]
            user = arguments[mark + 1] if with_user else None
    elif command == b"CONFIG SET":
        places = [at for at in range(1, len(arguments), 2) if arguments[at - 1].lower() in _SECRETS]
    elif command == b"ACL SETUSER" and arguments:
        user = arguments[0]
        places = [at for at, one in enumerate(arguments) if at and one[:1] in (b">", b"<", b"#", b"!")]
    password = arguments[places[0]] if places else None
    for place in places:
        shown[place] = _HIDDEN
    return shown, user, password


_ARRAY = rb"\*[1-9]\d{0,9}\r(?s:.)\$\d{1,10}\r"
"""Any number of words, the first of any length: servers take a million, and 512 MiB."""
_EMPTY = rb"(?:[ \t\r]*\n|\*(?:0|-\d{1,10})\r(?s:.))*"
"""What servers pass over: lines and arrays of no words."""
_INLINE = (
    rb"(?i:CONFIG[ \t]+(?:GET|SET)[ \t]|(?:SLAVEOF|REPLICAOF)[ \t]+[^\s/]+[ \t]+\w+\s*[\r\n]"
    rb"|(?:FLUSHALL|FLUSHDB|DBSIZE|BGSAVE)[ \t]*[\r\n])"
)
_NAMES = (
    rb"ACL|APPEND|AUTH|BGREWRITEAOF|BGSAVE|BITCOUNT|CLIENT|CLUSTER|COMMAND|CONFIG|DBSIZE|DEBUG|DECR|DEL|DISCARD|DUMP"
    rb"|ECHO|EVAL|EVAL_RO|EVALSHA|EVALSHA_RO|EXEC|EXISTS|EXPIRE|FAILOVER|FCALL|FCALL_RO|FLUSHALL|FLUSHDB|FUNCTION"
    rb"|GETDEL|GETEX|GETRANGE|GETSET|HELLO|HGET|HGETALL|HKEYS|HMGET|HSET|INCR|INCRBY|INFO|KEYS|LASTSAVE|LATENCY|LLEN"
    rb"|LOLWUT|LPUSH|LRANGE|MEMORY|MGET|MIGRATE|MODULE|MONITOR|MSET|MULTI|OBJECT|PERSIST|PING|PSETEX|PSUBSCRIBE|PSYNC"
    rb"|PTTL|PUBLISH|PUBSUB|RANDOMKEY|READONLY|RENAME|RENAMENX|REPLCONF|REPLICAOF|RESET|RESTORE|ROLE|RPUSH|SADD|SAVE"
    rb"|SCAN|SCRIPT|SELECT|SET|SETEX|SETNX|SHUTDOWN|SLAVEOF|SLOWLOG|SMEMBERS|SORT|STRLEN|SUBSCRIBE|SWAPDB|SYNC|TIME"
    rb"|TTL|TYPE|UNLINK|UNWATCH|WAIT|WATCH|XADD|XRANGE|ZADD|ZRANGE"
)
_QUOTED = rb"""[\w.]*(?:"[\w.\\]*"|'[\w.]*')[\w."'\\]*"""
"""A command's name that hides behind quotes."""
_AT_PORT = rb"(?:" + _ARRAY + rb"|[ \t]*(?:(?i:" + _NAMES + rb")|" + _QUOTED + rb")[ \t\r]*(?:[ \t][^\n]|\n))"
"""How a command begins at Redis's own port: in a line, any that HTTP does not know as well (GET, COPY, MOVE)."""
_BEGUN = late_pattern(rb"\*[1-9]\d{0,9}\r(?s:.)(?:\$\d{0,10})?")
"""An array whose first word does not show yet."""
_HEAD = 64
"""Bytes by which that shows."""


def _size_of(head: bytes) -> int:
    """Return the length of a line, as `ids.protocols.walked.Walked` has it; of a long one, of a part of it."""
    if _BEGUN.fullmatch(head):
        return 0
    if head[:1] == b"*" and (end := head.find(b"\r") + 1):
        return end + 1
    return head.find(b"\n") + 1 or (len(head) if len(head) >= _HEAD else 0)


_SERVER_SAYS = rb"\+PONG\r\n|-NOAUTH |-WRONGPASS |-DENIED Redis |\$\d{1,6}\r\n# Server\r\n"

PROTOCOL = Protocol(
    name="redis",
    from_client=_EMPTY + rb"(?:" + _ARRAY + rb"|" + _INLINE + rb")",
    client_prelude=_EMPTY,
    within=(b"*", rb"\*[1-9]\d{0,9}\r\n(?:\Z|\$\d{1,10}(?:\r\n|\r?\Z))"),
    walked=Walked(frozenset({6379}), _size_of, re.compile(_AT_PORT), _HEAD),
    from_server=_SERVER_SAYS,
    answers=rb"\+OK\r(?:\n|\Z)",
    settings=RedisSettings,
    streams=speaking(RedisFlow),
    oddities=("cut_command", "malformed_command", "malformed_reply"),
    event="redis",
    ours=True,
    buffers=(
        Buffer("redis.command", "redis", _CLIENT, "command, in capitals; both words of those that are several"),
        Buffer("redis.arguments", "redis", _CLIENT, "its arguments with blanks between, stars in place of passwords"),
        Buffer("redis.user", "redis", _CLIENT, "name of a user who is proven, or changed"),
        Buffer("redis.password", "redis", _CLIENT, "password, as sent"),
        Buffer("redis.reply_type", "redis", _SERVER, "type of the reply: `status`, `error`, `string`, `array`, `null`"),
        Buffer("redis.reply", "redis", _SERVER, "reply, where it is one line or a string"),
        Buffer("redis.error", "redis", _SERVER, "reply, where it is an error"),
    ),
)
