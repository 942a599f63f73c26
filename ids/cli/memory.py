"""The memory of alerts and changes, as commands use it: they read it, and write down what is done by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from ipaddress import ip_network

from ids.cli.options import print_message
from ids.config import Config
from ids.errors import IdsError, UsageError
from ids.kernel import Blocklist
from ids.kernel.instance import instance_dir
from ids.state import comments, lists
from ids.state.files import state_folder
from ids.store.byhand import Deed, record
from ids.store.database import open_reading, store_path


@contextmanager
def memory(config: Config) -> Iterator[sqlite3.Connection]:
    """Open the memory to read; raises `UsageError` where there is none or it cannot be read."""
    path = store_path(config.engine.state_dir, config.instance)
    with closing(open_reading(path)) as database:
        try:
            yield database
        except sqlite3.Error as error:
            raise UsageError(
                f"{path} cannot be read: {error}; where it is damaged, a running engine moves it aside and begins anew"
            ) from error


def note_comments(
    config: Config,
    added: Mapping[comments.Key, str | None] | None = None,
    gone: Collection[str] = (),
    ends: Mapping[comments.Key, int | None] | None = None,
) -> None:
    """Keep comments, or forget those of networks; where that cannot be, say so, and let the command succeed."""
    folder = state_folder(config.engine.state_dir, config.instance)
    try:
        if folder.exists() or any((added or {}).values()):
            comments.change(folder, added, gone, ends)
    except OSError as error:
        print_message(f"ids: note: comments cannot be kept: {error}")


def settle_comments(config: Config, label: str | None = None) -> None:
    """Have comments end with the claims that an import has changed: all of them, or those of one label."""
    folder = state_folder(config.engine.state_dir, config.instance)
    if not (folder / comments.FILE_NAME).exists():
        return
    try:
        with Blocklist.open(instance_dir(config.fastpath, config.instance)) as blocks:
            comments.settle(folder, partial(_end_of, blocks), label)
    except (OSError, IdsError) as error:
        print_message(f"ids: note: comments cannot be kept: {error}")


def _end_of(blocks: Blocklist, key: comments.Key) -> int | bool | None:
    """Return when the claim of a comment ends, False where there is none; see `ids.state.comments.settle`."""
    network, label = key
    try:
        claims = blocks.claims_on(ip_network(network))
    except ValueError:  # a file that somebody has edited
        return False
    return next((claim.expires_ns for claim in claims if claim.label == label), False)


def keep_lists(config: Config) -> None:
    """Save the lists after a change by hand, where no engine is there that would; a note says where they cannot be."""
    folder = state_folder(config.engine.state_dir, config.instance)
    if trouble := lists.keep(instance_dir(config.fastpath, config.instance), folder):
        print_message(f"ids: note: it is done, but would not outlive a reboot: {trouble}")


def note_deeds(config: Config, deeds: Sequence[Deed]) -> None:
    """Write down what this command has done; where that cannot be, say so, and let the command succeed."""
    if not config.store.enabled or not deeds:
        return
    if trouble := record(store_path(config.engine.state_dir, config.instance), deeds):
        print_message(f"ids: note: it is done, but not written down who did it: {trouble}")
