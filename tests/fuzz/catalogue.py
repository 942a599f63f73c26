"""What is fuzzed one input at a time, by name, each with its seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from ids.protocols.registry import BY_NAME, PROTOCOLS
from tests.fuzz.cases import Case, Step
from tests.fuzz.corpus import Corpus, by_hand, corpus
from tests.fuzz.functions import FUNCTIONS, HOOKS, Function
from tests.fuzz.handmade import HANDMADE, HTTP2
from tests.fuzz.languages import SuricataRules, YamlRules
from tests.fuzz.pieces_by_hand import BY_HAND
from tests.fuzz.second_line import NFS, SECOND_LINE
from tests.fuzz.seeds import Conversation, Seeds
from tests.fuzz.sessions import SESSIONS
from tests.fuzz.subjects import Parser, Subject
from tests.fuzz.windows import CONVERSATIONS
from tests.protocols.initials import ANSWER, HELLO, SCID, crypto, initial

MADE: tuple[Conversation, ...] = (
    *HANDMADE, *HTTP2, *SECOND_LINE, *NFS, *CONVERSATIONS, *(one for several in SESSIONS.values() for one in several),
)  # fmt: skip
"""Conversations by hand, of all protocols."""

PARSERS = {
    f"{protocol.name}.{kind}": (protocol.name, kind == "udp")
    for protocol in PROTOCOLS
    for kind, begin in (("tcp", protocol.streams), ("udp", protocol.datagrams))
    if begin is not None
}
"""By name of a target: the protocol, and whether it is that of datagrams."""


class Initials(Parser):
    """QUIC, with frames that are changed before they are protected."""

    def __init__(self) -> None:
        asked, answered = crypto(0, HELLO), crypto(0, ANSWER)
        cases: list[Case] = [
            ((0, asked),), ((0, asked), (1, answered)), ((0, asked[:40]), (0, crypto(36, HELLO[36:])), (1, answered)),
        ]  # fmt: skip
        super().__init__(BY_NAME["quic"], cases, datagrams=True)

    def execute(self, steps: Sequence[Step]) -> int:
        packets = [
            Step(
                step.side, initial(step.data, dcid=SCID, by_server=True) if step.side else initial(step.data, number=at)
            )
            for at, step in enumerate(steps[:8])
        ]
        return super().execute(packets)


class Catalogue:
    """All subjects, over some seeds."""

    def __init__(self, seeds: Seeds) -> None:
        self._seeds = seeds

    @cached_property
    def _corpus(self) -> Corpus:
        found = corpus(self._seeds.paths, HOOKS)
        for name, cases in by_hand(MADE, HOOKS).items():
            found[name] = list(dict.fromkeys([*cases[:60], *found.get(name, ())]))
        return found

    def make(self, name: str) -> Subject:
        """Return the subject of a name."""
        if name in SPECIAL:
            return SPECIAL[name](self._seeds)
        cases = [*BY_HAND.get(name, ()), *self._corpus.get(name, ())]
        if name in FUNCTIONS:
            call, code = FUNCTIONS[name]
            return Function(cases, call, *code)
        protocol, datagrams = PARSERS[name]
        return Parser(BY_NAME[protocol], cases, datagrams=datagrams)


SPECIAL: dict[str, Callable[[Seeds], Subject]] = {
    "quic.initial": lambda seeds: Initials(),
    "suricata_rules": lambda seeds: SuricataRules(seeds.rules),
    "yaml_rules": lambda seeds: YamlRules(),
}

SUBJECTS = (*PARSERS, *FUNCTIONS, *SPECIAL)
"""Names of all."""
