"""What is found out about files, and the limits of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

KIB = 1024
MIB = 1024 * KIB

Hash = Literal["md5", "sha1", "sha256"]
HASHES: tuple[Hash, ...] = ("md5", "sha1", "sha256")


class FileSettings(BaseModel):
    """Files that protocols carry: what events say of them, what is kept, what is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    hashes: list[Hash] = Field(
        [], description="Digests that `fileinfo` events have. Rules compute theirs all the same."
    )
    magic: bool = Field(
        False, description="Write in `fileinfo` events what a file is by its content, in libmagic's words (`magic`)."
    )
    inspect_bytes: int = Field(
        100 * KIB,
        ge=KIB,
        le=1 << 30,
        description="Of a file that comes in many messages (SMTP, FTP, SMB), what `file.data` and libmagic see: its"
        " first so many bytes. Bodies of HTTP have limits of their own.",
    )
    memcap_bytes: int = Field(
        64 * MIB,
        ge=0,
        description="Content of open files kept, over all flows; of those beyond it, size and digests are still known.",
    )
    range_memcap_bytes: int = Field(
        64 * MIB,
        ge=0,
        description="Bytes of files that come in ranges over several responses of HTTP, kept to be joined, over all"
        " files; the one that was silent longest gives way. Suricata's byterange.memcap.",
    )
    range_timeout_s: float = Field(
        60,
        gt=0,
        le=31_622_400,
        description="How long ranges of a file wait for others after the last one came. Suricata's byterange.timeout.",
    )
    store_dir: str | None = Field(
        None,
        description="Directory into which rules with `filestore` write files, each named by the SHA-256 of its bytes;"
        " made if it is not there, for its owner alone; where it is no absolute path, beside `eve.path`. None: nothing"
        " is stored.",
    )
    store_all: bool = Field(False, description="Store every file, and not only those that rules ask for.")
    store_file_bytes: int = Field(
        10 * MIB,
        ge=1,
        le=1 << 30,
        description="Largest file stored. Bodies of HTTP end earlier: see `protocols.http.response_body_bytes`.",
    )
    store_quota_bytes: int = Field(
        1024 * MIB,
        ge=0,
        description="Bytes of all files in the store; beyond them none is added until some are removed.",
    )
    store_files: int = Field(
        100_000, ge=0, description="Files in the store, likewise: many small ones use up a file system as well."
    )
