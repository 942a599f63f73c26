"""What the console may change where it was started with ``--write``: lift a block, allow an address.

Each change is written down in the store with who asked, and outlives a reboot, as that of a command does.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ids.config import Config
from ids.errors import UsageError
from ids.kernel import AllowList, Blocklist
from ids.kernel.instance import instance_dir
from ids.state import comments, lists
from ids.state.files import state_folder
from ids.store.byhand import Deed, lifted, record
from ids.store.database import store_path
from ids.types import IPNetwork, typed_network


def network_of(text: str) -> IPNetwork:
    """Return the network that somebody typed; raises `UsageError`."""
    try:
        return typed_network(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def lift(config: Config, network: IPNetwork) -> str:
    """Take a network off the blocklist, whoever put it there; return what to say. Raises `KernelError`."""
    with Blocklist.open(_pins(config)) as blocklist:
        before = blocklist.get(network)
        if not blocklist.delete(network):
            return f"{network} was not on the blocklist"
    folder = state_folder(config.engine.state_dir, config.instance)
    with suppress(OSError):  # as the store: what cannot be written does not keep a block from being lifted
        if folder.exists():
            comments.change(folder, networks_gone=[str(network)])
    deed = Deed("unblock", network) if before is None else lifted(before)
    return _written(config, deed, f"{network} is unblocked")


def allow(config: Config, network: IPNetwork) -> str:
    """Put a network on the allow-list; return what to say. Raises `KernelError`."""
    with AllowList.open(_pins(config)) as allowed:
        allowed.add([network], label="operator")
    return _written(config, Deed("allow", network), f"{network} is allowed: no block of it drops anything")


def _written(config: Config, deed: Deed, done: str) -> str:
    """Write down what was done, and have it outlive a reboot; return what to say."""
    said = [done]
    folder = state_folder(config.engine.state_dir, config.instance)
    if problem := lists.keep(_pins(config), folder):
        said.append(f"It would not outlive a reboot: {problem}")
    if config.store.enabled and (problem := record(store_path(config.engine.state_dir, config.instance), [deed])):
        said.append(f"It could not be written down: {problem}")
    return ". ".join(said)


def _pins(config: Config) -> Path:
    return instance_dir(config.fastpath, config.instance)
