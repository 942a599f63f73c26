"""The control socket: a running engine answers one JSON request a line, from root on this host only."""

from __future__ import annotations

import errno
import inspect
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ids.errors import IdsError, KernelError, NoAnswer, NotRunning, UsageError

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 4096
TIMEOUT_S = 0.2
"""How long the engine waits for a slow client's request, all of it, and as long until that has taken the answer; its
rings hold more than that at line rate."""

ANSWER_S = 3.0
"""How long a command waits for the engine, which answers between two batches: some milliseconds, a second at worst."""

MAX_ANSWER_BYTES = 64 << 20

Handler = Callable[..., dict[str, Any]]
"""Answers one command, from the arguments that came with it."""


def socket_path(runtime_dir: str, instance: str) -> Path:
    """Return where the engine of this name listens."""
    return Path(runtime_dir) / f"{instance}.sock"


class ControlServer:
    """Answers requests in the engine's own thread, between two batches; ``fileno`` is for its poll."""

    def __init__(self, path: Path, handlers: dict[str, Handler]) -> None:
        """Listen at ``path``; raises `UsageError` where another engine answers there."""
        self._path = path
        self._handlers = handlers
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
                if _answers(path):
                    raise UsageError(f"an engine is running already ({path}); stop it, or choose another `instance`")
                path.unlink()
        except OSError as error:
            raise _refused(path, error) from error
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            previous = os.umask(0o177)
            try:
                self._socket.bind(str(path))
            finally:
                os.umask(previous)
            self._socket.listen(8)
        except OSError as error:
            self._socket.close()
            raise _refused(path, error) from error

    def fileno(self) -> int:
        """Return the listening socket's file descriptor."""
        return self._socket.fileno()

    def serve(self) -> None:
        """Answer the clients that wait now; one that is too slow or talks nonsense is hung up on."""
        while True:
            try:
                client, _ = self._socket.accept()
            except BlockingIOError:
                return
            with client:
                try:
                    answer = self._answer(_line(client, TIMEOUT_S))
                    client.settimeout(TIMEOUT_S)
                    client.sendall(answer)
                except OSError:  # the client's trouble, not the engine's
                    continue

    def _answer(self, line: bytes) -> bytes:
        """Return the answer to one request; whatever a handler raises is an answer too."""
        try:
            request = json.loads(line)
            handler, arguments = self._handlers[request["command"]], dict(request.get("arguments", {}))
            inspect.signature(handler).bind(**arguments)
        except (ValueError, KeyError, TypeError, RecursionError):  # the last for brackets within brackets
            return json.dumps({"error": f"expected a command: {', '.join(self._handlers)}"}).encode() + b"\n"
        try:
            return json.dumps(handler(**arguments)).encode() + b"\n"
        except IdsError as error:
            answer = {"error": str(error), "exit_code": error.exit_code}
        except Exception as error:  # no command may end the engine
            log.exception("the command %s failed: please report this", request["command"])
            answer = {"error": f"the engine failed in {request['command']}, see its log: {error!r}"}
        return json.dumps(answer).encode() + b"\n"

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def request(path: Path, command: str, timeout_s: float | None = None, **arguments: Any) -> dict[str, Any]:
    """Ask a running engine, with arguments ready for JSON, `MAX_REQUEST_BYTES` in all; wait for `ANSWER_S` by default.

    Raises `NotRunning` where there is none, `NoAnswer` where it does not answer in time.
    """
    timeout_s = ANSWER_S if timeout_s is None else timeout_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(str(path))
            wanted = {"command": command, **({"arguments": arguments} if arguments else {})}
            client.sendall(json.dumps(wanted).encode() + b"\n")
            answer: dict[str, Any] = json.loads(_line(client, timeout_s, MAX_ANSWER_BYTES))
            return answer
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunning(f"no engine is running at {path}; is `ids run` up, with this instance?") from error
    except (TimeoutError, BlockingIOError) as error:  # the latter: nobody takes the requests that wait already
        raise NoAnswer(
            f"the engine at {path} has not answered within {timeout_s:g} s: it hangs, or it is loading rules. What is"
            " blocked stays blocked. If it goes on, end that process and start it again: the gate stays shut meanwhile"
        ) from error
    except (OSError, ValueError) as error:
        raise NoAnswer(f"the engine at {path} does not answer: {error}; is it another user's?") from error


def _refused(path: Path, error: OSError) -> KernelError:
    forbidden = error.errno in (errno.EACCES, errno.EPERM)
    return KernelError(
        f"control socket {path}: {error.strerror}", "Run as root" if forbidden else "Choose another engine.runtime_dir"
    )


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(TIMEOUT_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _line(peer: socket.socket, seconds: float, limit: int = MAX_REQUEST_BYTES) -> bytes:
    """Return what a peer says in one line; raises `TimeoutError` where not all of it has come within ``seconds``."""
    until = time.monotonic() + seconds
    parts = []
    size = 0
    while size < limit:
        left = until - time.monotonic()  # one byte now and then must not start the time over
        if left <= 0:
            raise TimeoutError
        peer.settimeout(left)
        part = peer.recv(min(65536, limit - size))
        if not part:
            break
        parts.append(part)
        size += len(part)
        if part.endswith(b"\n"):
            break
    return b"".join(parts)
