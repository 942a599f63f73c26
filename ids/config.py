"""The settings of the engine: one typed tree, read from YAML, every value checked before anything starts.

Each stage owns its settings (``ids/<stage>/settings.py``), `ids.settings` has the rest; here they become one document.
Unknown keys are refused with their place and the nearest known one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ids import suricata
from ids.decode.settings import DecodeSettings
from ids.errors import ConfigError, Location, SourceError, UsageError
from ids.flow.settings import FlowSettings, StreamSettings
from ids.kernel.settings import FastPathSettings
from ids.protocols.files import FileSettings
from ids.protocols.settings import ProtocolSettings
from ids.rules.language.variables import GroupError, Variables
from ids.rules.settings import DEFAULT_VARIABLES, RulesSettings
from ids.settings.feeds import FeedSettings
from ids.settings.outputs import MailSettings, SyslogSettings, WebhookSettings
from ids.settings.respond import CapturesSettings, EveSettings, RespondSettings
from ids.settings.store import StoreSettings
from ids.source import Document, InvalidDocument, Key, parse_yaml, read_yaml, validate

log = logging.getLogger(__name__)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class PluginSettings(_Settings):
    """Which plugins run, and their own settings."""

    disabled: list[str] = Field([], description="Installed plugins that are not loaded, by entry point name.")
    options: dict[str, dict[str, Any]] = Field({}, description="Settings handed to each plugin, by its name.")


class EngineSettings(_Settings):
    """The loop itself."""

    workers: Annotated[int, Field(ge=1, le=16)] | Literal["auto"] = Field(
        1,
        description="Processes that inspect, each its share of the flows; `auto` is one for each processor. One:"
        " inspection and decisions share a process.",
    )
    niceness: int = Field(
        5,
        ge=0,
        le=19,
        description="How far inspection steps back where others want the processor too, as nice(1) counts: what a"
        " gateway forwards goes before what it inspects. 0: not at all.",
    )
    wait_interfaces: bool = Field(
        False,
        description="Start although an interface is not there yet, and guard it as soon as it is, as `ids run"
        " --wait-interfaces` does; otherwise that is refused, for it may be a wrong name.",
    )
    drop_privileges: bool = Field(
        False,
        description="Give up all capabilities but CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (beside libxdp's dispatcher"
        " CAP_SYS_ADMIN too), and those as well in processes that only inspect (`workers`). Files of other users than"
        " root can then be out of reach.",
    )
    runtime_dir: str = Field("/run/ids", description="Directory of the control sockets, one an instance.")
    state_dir: str = Field(
        "/var/lib/ids",
        description="Directory of what outlives the engine and a reboot, in a folder for each instance: the database"
        " of alerts and changes, and the lists. Readable by its owner alone.",
    )
    restore_lists: bool = Field(
        True,
        description="Whether blocklist, allow-list and penalties are in force again after a reboot, before the"
        " interfaces come up. They are saved in any case, some seconds after each change; `ids detach`, and"
        " `fastpath.on_stop: remove`, forget them.",
    )
    bypass: list[str] = Field(
        ["tls", "ssh"],
        description="Protocols that are encrypted after their beginning: once `bypass_after_bytes` of a direction were"
        " inspected, the kernel lets the rest of the flow pass unseen. Empty: inspect to the stream depth.",
    )
    bypass_after_bytes: int = Field(
        65_536, ge=4096, description="Bytes of one direction inspected before an encrypted flow is bypassed."
    )
    bypass_unneeded: bool = Field(
        True,
        description="Let the rest of a TCP flow pass unseen once no parser reads more of it, and no loaded rule or"
        " plugin looks into its packets or payload. No alert is missed; but `anomaly` events of such a rest are, and a"
        " rule that a reload adds does not see it. Off where `stream.on_conflict` is `drop`.",
    )
    update_feeds: bool = Field(
        True, description="Have `feeds` updated while the engine runs, by a process of its own; off where a timer does."
    )
    stats_interval_s: float = Field(10.0, gt=0, le=31_622_400, description="Seconds between two `stats` events.")
    uninspected_log_s: float = Field(
        60.0,
        gt=0,
        le=31_622_400,
        description="Seconds between two lines of the log that say how much traffic passed uninspected, why and whose;"
        " the first comes at once, and none where nothing did.",
    )


class ConsoleSettings(_Settings):
    """The web console and the metrics, `ids console`: a process of its own, not the engine."""

    listen: str = Field(
        "127.0.0.1:9477",
        description="Where it listens: an address of this host and a port, `[::1]:9477`, or the path of a unix socket"
        " (`unix:/run/ids/console.sock`), which is its owner's alone.",
    )
    elsewhere: bool = Field(
        False,
        description="Listen on an address that others reach, too. There is no TLS: put a proxy before it that has it.",
    )
    hosts: list[str] = Field(
        [],
        description="Names, beside `localhost` and the loopback addresses, by which browsers and scrapers ask for it."
        " A request that names another host is refused, so that no page elsewhere reaches it by a name of its own.",
    )
    token_file: Path | None = Field(
        None,
        description="File of the token that whoever asks has to know, readable by its owner alone; made where it is"
        " not there. Default: `<engine.runtime_dir>/<instance>.token`.",
    )
    payload: Literal["keep", "drop"] = Field(
        "keep",
        description="Whether pages show bytes of the traffic: payload, packets, bodies, evidence. Addresses are shown"
        " in any case: pages are about them.",
    )
    open_metrics: bool = Field(
        False,
        description="Answer `/metrics` without the token. They have no addresses, but reasons, rules and rates.",
    )


class Config(_Settings):
    """All settings. Every one has a default: an empty file is a valid configuration."""

    instance: str = Field(
        "default",
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        description="Name of this engine; several may run on one host, each with its own pins and control socket.",
    )
    interfaces: list[str] = Field([], description="Interfaces to guard; `-i` adds to them.")
    vars: dict[str, str | list[str]] = Field(
        {}, description="Address and port groups for rules, over the built-in ones (`HOME_NET`, `EXTERNAL_NET`, ...)."
    )
    engine: EngineSettings = EngineSettings.model_construct()
    fastpath: FastPathSettings = FastPathSettings.model_construct()
    decode: DecodeSettings = DecodeSettings.model_construct()
    flow: FlowSettings = FlowSettings.model_construct()
    stream: StreamSettings = StreamSettings.model_construct()
    protocols: ProtocolSettings = ProtocolSettings.model_construct()
    files: FileSettings = FileSettings.model_construct()
    rules: RulesSettings = RulesSettings.model_construct()
    respond: RespondSettings = RespondSettings.model_construct()
    eve: EveSettings = EveSettings.model_construct()
    captures: CapturesSettings = CapturesSettings.model_construct()
    syslog: SyslogSettings = SyslogSettings.model_construct()
    webhook: WebhookSettings = WebhookSettings.model_construct()
    mail: MailSettings = MailSettings.model_construct()
    store: StoreSettings = StoreSettings.model_construct()
    feeds: list[FeedSettings] = Field(
        [],
        description="Blocklists of others that are kept up to date: each with `label`, `url` or `file`, `every`, and"
        " what"
        " docs/feeds.md names besides.",
    )
    plugins: PluginSettings = PluginSettings.model_construct()
    console: ConsoleSettings = ConsoleSettings.model_construct()

    @field_validator("feeds")
    @classmethod
    def _labelled_once(cls, feeds: list[FeedSettings]) -> list[FeedSettings]:
        labels = [feed.label for feed in feeds]
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise ValueError(f"two feeds have the label {twice}: the second would replace what the first blocks")
        return feeds


def load_config(path: str | Path | None, overrides: Iterable[str] = ()) -> Config:
    """Read settings from a YAML file (none: the defaults) and apply ``key.path=value`` overrides on top.

    Raises `InvalidDocument` with every fault of the file, then of its variables; `ConfigError`/`SourceError` where it
    cannot be read, and `UsageError` for an override that is no ``key=value``. Values of overrides are YAML:
    ``respond.allow=[192.0.2.1]``, but for ``-`` alone, which as a path means stdout and in YAML a list of nothing.
    """
    return load_document(path, overrides)[0]


def load_document(path: str | Path | None, overrides: Iterable[str] = ()) -> tuple[Config, Document]:
    """Return the settings, and as plain data what was given of them, each with its place; raises as `load_config`."""
    document = Document("defaults", {}, {}) if path is None else read_yaml(path)
    merged = assigned(document, overrides)
    return checked(merged), merged


def checked(document: Document) -> Config:
    """Return the settings of a document; raises `InvalidDocument`."""
    config = _validated(document)
    _check_variables(config.vars, document)
    for number, exception in enumerate(config.respond.exceptions):
        exception.written_at(document.locate(("respond", "exceptions", number, "sid")))
    return config


def _validated(document: Document) -> Config:
    """Return the settings; raises `InvalidDocument`.

    Where only groups are given, each is judged by its own schema: that of the whole tree takes 50 ms to make.
    """
    given: dict[str, Any] = {}
    for name, value in (document.data or {}).items():
        field = Config.model_fields.get(name)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return validate(Config, document)
        try:
            given[name] = field.annotation.model_validate(value)
        except ValidationError:
            return validate(Config, document)  # which has all faults
    return Config.model_construct(**given)


def assigned(document: Document, overrides: Iterable[str]) -> Document:
    """Return a document of settings, Suricata's translated, with overrides on top; its data is not validated yet."""
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise ConfigError("a configuration is a mapping of settings", Location(document.path, 1, 1))
    if suricata.is_suricatas(data):
        document, data = _translated(document, data)
    places = dict(document.places)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {override}: expected key.path=value, such as respond.mode=shadow")
        try:
            value = text if text == "-" else parse_yaml(text, f"--set {override}").data
        except SourceError as error:
            raise UsageError(f"--set {override}: the value {error.message}") from error
        for name, taken in _named(key, value).items():
            keys = name.split(".")
            _assign(data, keys, taken, override)
            places = {at: place for at, place in places.items() if at[: len(keys)] != tuple(keys)}  # what it replaced
            for depth in range(1, len(keys) + 1):
                places.setdefault(tuple(keys[:depth]), Location(f"--set {override}"))
    return Document(document.path, data, places)


def _named(key: str, value: Any) -> dict[str, Any]:
    """Return what an override assigns: Suricata's names stand for ours, where there is one."""
    if not suricata.is_suricatas_name(key):
        return {key: value}
    taken = suricata.setting_of(key, value)
    if taken is None:
        log.warning("--set %s: this is Suricata's, without a counterpart here, and changes nothing", key)
    return taken or {}


def _translated(document: Document, data: Mapping[str, Any]) -> tuple[Document, dict[str, Any]]:
    """Return a ``suricata.yaml`` as a document of our settings."""
    made: dict[str, Any] = {}
    for name, value in suricata.settings_of(data, document.path).items():
        _assign(made, name.split("."), value, name)
    return Document(document.path, made, {}), made


def _check_variables(given: Mapping[str, str | list[str]], document: Document) -> None:
    """Raise `InvalidDocument` where a variable is no group: else every rule that uses it would be blamed."""
    known = Variables({**DEFAULT_VARIABLES, **given})
    errors: dict[tuple[Key, ...], SourceError] = {}
    for name in given:
        at = ("vars", name)
        try:
            known.check(name)
        except GroupError as error:
            errors[at] = ConfigError(f"vars.{name}: {error}", document.locate(at), error.remedy)
    if errors:
        raise InvalidDocument([*errors.values()], [*errors])


def _assign(data: dict[str, Any], keys: list[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        child = data.setdefault(key, {})
        if not isinstance(child, dict):
            raise UsageError(f"--set {override}: {key} is a single value, not a group of settings")
        data = child
    data[keys[-1]] = value


def dump_config(config: Config) -> str:
    """Spell the settings, defaults included, as the YAML that would give them."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


__all__ = ["Config", "InvalidDocument", "dump_config", "load_config", "load_document"]
