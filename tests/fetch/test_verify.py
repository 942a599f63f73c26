"""Who made a feed: digests, minisign by the letter of its format, GnuPG by its own program."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ids.fetch.download import FetchFailed
from ids.fetch.verify import check_gpg, check_minisign, check_sha256

DATA = b"192.0.2.1\n"
DIGEST = hashlib.sha256(DATA).hexdigest()
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ID = b"12345678"
KEY = base64.b64encode(b"Ed" + ID + SECRET.public_key().public_bytes_raw()).decode()


def signed(data: bytes, kind: bytes = b"ED", key_id: bytes = ID, comment: bytes = b"timestamp:1") -> bytes:
    first = SECRET.sign(hashlib.blake2b(data).digest() if kind == b"ED" else data)
    second = SECRET.sign(first + comment)
    lines = [b"untrusted comment: x", base64.b64encode(kind + key_id + first), b"trusted comment: " + comment,
             base64.b64encode(second)]  # fmt: skip
    return b"\n".join(lines) + b"\n"


@pytest.mark.parametrize("kind", [b"ED", b"Ed"])
def test_minisign(kind: bytes) -> None:
    check_minisign(DATA, signed(DATA, kind), KEY, "feed")
    with pytest.raises(FetchFailed, match="does not hold"):
        check_minisign(DATA + b"203.0.113.1\n", signed(DATA, kind), KEY, "feed")
    with pytest.raises(FetchFailed, match="another key"):
        check_minisign(DATA, signed(DATA, kind, b"87654321"), KEY, "feed")


def test_a_trusted_comment_that_was_changed_is_noticed() -> None:
    with pytest.raises(FetchFailed, match="does not hold"):
        check_minisign(DATA, signed(DATA).replace(b"timestamp:1", b"timestamp:2"), KEY, "feed")


@given(st.one_of(st.binary(max_size=400), st.lists(st.binary(max_size=80)).map(b"\n".join)))
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(FetchFailed):
        check_minisign(DATA, signature, KEY, "feed")


@pytest.mark.parametrize(
    "listing",
    [DIGEST, DIGEST.upper(), f"{DIGEST}  feed.txt", f"{DIGEST} *dir/feed.txt\r",
     f"{'0' * 64}  other.txt\n{DIGEST}  feed.txt"],
)  # fmt: skip
def test_sha256(listing: str) -> None:
    check_sha256(DATA, listing.encode() + b"\n", "https://x/feed.txt")


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (f"{'0' * 64}  feed.txt", "not the one"),
        (f"{'0' * 64}  feed.txt\n{DIGEST}  other.txt", "not the one"),
        (f"{DIGEST}  one.txt\n{DIGEST}  other.txt", "no SHA-256"),
        ("<html>", "no SHA-256"),
    ],
)
def test_another_digest_is_refused(listing: str, message: str) -> None:
    with pytest.raises(FetchFailed, match=message):
        check_sha256(DATA, listing.encode(), "https://x/feed.txt")


@pytest.mark.skipif(not (shutil.which("gpg") and shutil.which("gpgv")), reason="needs gpg and gpgv")
def test_gpg(tmp_path: Path) -> None:
    home, keyring, feed = tmp_path / "home", tmp_path / "keyring.gpg", tmp_path / "feed"
    home.mkdir(mode=0o700)
    feed.write_bytes(DATA)

    def gpg(*words: str) -> bytes:
        command = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--pinentry-mode", "loopback", *words]
        return subprocess.run(command, capture_output=True, check=True, timeout=200).stdout

    try:
        gpg("--quick-gen-key", "feed@example.org", "ed25519", "sign", "never")
        keyring.write_bytes(gpg("--export"))
        signature = gpg("--detach-sign", "-o", "-", str(feed))
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, timeout=100)
    check_gpg(DATA, signature, keyring, "feed")
    for data, of in ((DATA + b"x", signature), (DATA, b"nothing")):
        with pytest.raises(FetchFailed, match="does not hold"):
            check_gpg(data, of, keyring, "feed")
