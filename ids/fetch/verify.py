"""Finds out whether a feed is genuine: its SHA-256, a signature of minisign, a detached one of GnuPG.

minisign's format: https://jedisct1.github.io/minisign/#signature-format. A signature is by a key of Ed25519, over the
file or (``ED``) over its BLAKE2b; a second one covers the first and the trusted comment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ids.fetch.download import FetchFailed
from ids.literal import literal

GPGV_S = 60.0
_TRUSTED = b"trusted comment: "


def check_sha256(data: bytes, listing: bytes, source: str) -> None:
    """Raise `FetchFailed` unless a listing has the digest of ``data``, for a file of its name where it names some."""
    name = source.rpartition("/")[2]
    lines = re.findall(rb"^([0-9A-Fa-f]{64})(?:[ \t]+\*?([^\r\n]*))?\r?$", listing, re.MULTILINE)
    named = [digest for digest, of in lines if of.decode("utf-8", "replace").rpartition("/")[2] == name]
    digests = named or [digest for digest, of in lines if len(lines) == 1]
    if not digests:
        raise FetchFailed(f"{source}: no SHA-256 of {literal(name)} is in the file that should have it")
    found = hashlib.sha256(data).hexdigest()
    if found.encode() not in (digest.lower() for digest in digests):
        raise FetchFailed(f"{source} has the SHA-256 {found}, and not the one that its source names")


def check_minisign(data: bytes, signature: bytes, key: str, source: str) -> None:
    """Raise `FetchFailed` unless the key has signed ``data``."""
    try:
        packed = base64.b64decode(key, validate=True)
        lines = signature.splitlines()
        first, comment, second = base64.b64decode(lines[1], validate=True), lines[2], base64.b64decode(lines[3])
    except (binascii.Error, IndexError, ValueError) as error:
        raise FetchFailed(f"{source}: its signature is none of minisign") from error
    if len(packed) != 42 or packed[:2] != b"Ed":
        raise FetchFailed(f"{source}: minisign_key is no public key of minisign")
    if len(first) != 74 or len(second) != 64 or first[:2] not in (b"Ed", b"ED") or not comment.startswith(_TRUSTED):
        raise FetchFailed(f"{source}: its signature is none of minisign")
    if first[2:10] != packed[2:10]:
        raise FetchFailed(f"{source}: it is signed by another key ({first[2:10][::-1].hex()})")
    signed = hashlib.blake2b(data).digest() if first[:2] == b"ED" else data
    public = Ed25519PublicKey.from_public_bytes(packed[10:])
    try:
        public.verify(first[10:], signed)
        public.verify(second, first[10:] + comment.removeprefix(_TRUSTED))
    except InvalidSignature:
        raise FetchFailed(f"{source}: its signature does not hold: it was changed") from None


def check_gpg(data: bytes, signature: bytes, keyring: Path, source: str) -> None:
    """Raise `FetchFailed` unless a key of the keyring has signed ``data``."""
    gpgv = shutil.which("gpgv", path="/usr/bin:/usr/local/bin:/bin")
    if gpgv is None:
        raise FetchFailed(f"{source}: gpgv is not installed, so its signature cannot be verified")
    with tempfile.TemporaryDirectory() as folder:
        of_data, of_signature = Path(folder, "data"), Path(folder, "signature")
        of_data.write_bytes(data)
        of_signature.write_bytes(signature)
        command = [gpgv, "--homedir", folder, "--keyring", str(keyring.absolute()), str(of_signature), str(of_data)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=GPGV_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FetchFailed(f"{source}: gpgv: {error}") from error
    if done.returncode != 0:
        said = literal(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200])
        raise FetchFailed(f"{source}: its signature does not hold: {said}")
