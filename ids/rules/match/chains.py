"""Evaluates chains of positioned tests on one instance of a buffer.

1. A chain is compiled once, when it is first asked for, into *moves*: closures that take the cursor and return the
   next one, or None where they do not hold. All moves run in one loop over an explicit stack: neither the length of a
   rule nor the traffic can exhaust Python's own.
2. A move that could have found another place is a *choice*. Where a later move fails, the last choice goes on behind
   the place that it took. That is done only where a later move looks from the cursor that the choice left, because
   nothing else would come out differently.
3. A move from which on nothing depends on what lies before it is a *cut*: choices before it are dropped. A test that
   depends on nothing before it, and fails, ends the evaluation.
4. What failed from a cursor fails from it again: such pairs are remembered, so that choices do not multiply. Before
   the first choice is tried again, all literals of the chain are looked for, wherever they are.
5. Whatever the rule and the traffic, evaluation ends after `MAX_STEPS` moves; a search through much data counts for
   several. Then the chain does not hold, and that is counted.

Suricata's content inspection (detect-engine-content-inspection.c) does the same as a recursion with the same bound,
but gives up earlier here and there, and remembers nothing: within the bound, what it finds is found here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ids.rules.match.moves import move_of
from ids.rules.match.reading import Move, Reading, Unset, Variables
from ids.rules.model.chain import (
    Chain,
    Compare,
    Compute,
    Content,
    DataAt,
    Decode,
    Expression,
    Extract,
    Jump,
    Number,
    Step,
    Structure,
)

MAX_STEPS = 3000
"""Moves of one evaluation; Suricata's bound (``inspection-recursion-limit``)."""

MAX_DECODED = 16
"""Places that one evaluation decodes base64 at."""

_Key: TypeAlias = tuple[int, int, tuple[int | None, ...]]


@dataclass(frozen=True, slots=True)
class Program:
    """A chain, compiled. The tuples have an entry for each move."""

    moves: tuple[Move, ...]
    choices: tuple[bool, ...]
    cuts: tuple[bool, ...]
    fatal: tuple[bool, ...]
    """The test by itself depends on nothing before it."""
    names: tuple[str, ...]
    """Variables that the chain sets."""
    decodes: bool
    """It fills the buffer of decoded base64."""
    straight: bool
    """There is no choice in it."""
    captures: bool
    """Groups of its regexes are kept."""
    literals: tuple[tuple[bytes, bool], ...]
    """Its literals that must be there, and whether their case does not matter."""

    def run(self, at: Reading) -> None:
        """Judge an instance of the buffer; where the chain holds, ``at.held`` has what it found."""
        try:
            if self.straight:
                self._pass(at)
            else:
                self._run(at)
        except Unset:
            at.held = None

    def _pass(self, at: Reading) -> None:
        """Run a chain without choices."""
        cursor = at.origin
        for move in self.moves:
            end = move(at, cursor, -1)
            if end is None:
                return
            cursor = end
        at.settle()

    def _run(self, at: Reading) -> None:
        moves, choices, cuts, size = self.moves, self.choices, self.cuts, len(self.moves)
        stack: list[tuple[int, int, int, int]] = []
        failed: set[_Key] = set()
        k, cursor, again = 0, at.origin, -1
        while at.left > 0:
            at.left -= 1
            if stack and again < 0 and cuts[k]:
                stack.clear()
            end = moves[k](at, cursor, again)
            if end is not None and choices[k]:
                if failed and self._key(k, end, at) in failed:
                    again = at.next
                    continue
                stack.append((k, cursor, at.next, end))
            if end is not None:
                k, cursor, again = k + 1, end, -1
                if k < size:
                    continue
                at.settle()
                if not self.decodes or len(at.decoded) >= MAX_DECODED:
                    return
            elif again < 0 and self.fatal[k]:
                break
            if not stack or (not failed and self._lacks_one(at)):
                break
            k, cursor, again, end = stack.pop()
            failed.add(self._key(k, end, at))
        else:
            at.exhausted = True

    def _lacks_one(self, at: Reading) -> bool:
        """Return whether a literal of the chain is nowhere, so that there is no use in going back."""
        return any((at.lowered() if caseless else at.data).find(value) < 0 for value, caseless in self.literals)

    def _key(self, k: int, end: int, at: Reading) -> _Key:
        """Return what the fate of all moves behind a choice depends on."""
        return k, end, tuple([at.values.get(name) for name in self.names]) if self.names else ()


def judge(chain: Chain, data: bytes, lowered: Callable[[], bytes], values: Variables, origin: int = 0) -> Reading:
    """Judge one instance of a chain's buffer; ``origin`` is 0 or below (`Reading.origin`).

    Where the chain holds, ``values`` has its variables; else what it had.
    """
    program = program_of(chain)
    at = Reading(data, lowered, Variables(values) if program.names else values, MAX_STEPS, origin)
    program.run(at)
    if at.held is not None and program.names:
        values.update(at.values)
    return at


def program_of(chain: Chain) -> Program:
    """Return what a chain is compiled to; it is kept in the chain."""
    program = chain.program
    if program is None:
        program = compile_chain(chain)
        object.__setattr__(chain, "program", program)
    assert isinstance(program, Program)
    return program


@dataclass(slots=True)
class _Facts:
    """What each step, and all from each step on, depends on."""

    reads: list[bool]
    """From the step on, something looks from the cursor that was there before it."""
    needs: list[frozenset[str]]
    """Variables that must have been set before the step."""
    following: list[Step | None]
    """From the step on, the first that looks from the cursor or moves it, where none before that uses a variable."""


def _facts_of(steps: tuple[Step, ...]) -> _Facts:
    """Return the facts of each step, and of the end behind them."""
    size = len(steps)
    facts = _Facts([False] * (size + 1), [frozenset()] * (size + 1), [None] * (size + 1))
    for k in range(size - 1, -1, -1):
        step, used = steps[k], uses(steps[k])
        facts.reads[k] = reads_cursor(step) or (not moves_cursor(step) and facts.reads[k + 1])
        facts.needs[k] = used | (facts.needs[k + 1] - sets(step))
        active = reads_cursor(step) or moves_cursor(step)
        facts.following[k] = None if used else step if active else facts.following[k + 1]
    return facts


def compile_chain(chain: Chain) -> Program:
    """Compile a chain."""
    steps = chain.steps
    facts = _facts_of(steps)
    before: frozenset[str] = frozenset()
    repeated = False
    moves, choices, cuts, fatal = [], [], [], []
    for k, step in enumerate(steps):
        read_on = facts.reads[k + 1]
        moves.append(move_of(step, k, read_on, repeated))
        choices.append(_searches(step) and read_on and not _farther_is_worse(step, facts.following[k + 1]))
        cuts.append(not facts.reads[k] and not facts.needs[k] & before)
        fatal.append(not reads_cursor(step) and not uses(step) & before)
        before |= sets(step)
        repeated = repeated or choices[-1]
    literals = tuple((step.value, step.nocase) for step in steps if isinstance(step, Content) and not step.negated)
    decodes = any(isinstance(step, Decode) for step in steps)
    captures = any(isinstance(step, Expression) and step.captures for step in steps)
    return Program(
        tuple(moves), tuple(choices), tuple(cuts), tuple(fatal), tuple(sorted(before)), decodes, not repeated, captures,
        literals,
    )  # fmt: skip


def _searches(step: Step) -> bool:
    """Return whether a step may find several places."""
    return isinstance(step, Content | Expression) and not step.negated


def _farther_is_worse(step: Step, following: Step | None) -> bool:
    """Return whether no later place of a literal can help: the next that looks from it looks on without an end."""
    return (
        isinstance(step, Content)
        and isinstance(following, Content)
        and following.relative
        and not following.negated
        and following.within is None
    )


def reads_cursor(step: Step) -> bool:
    """Return whether a step looks from the cursor."""
    if isinstance(step, Compare | Jump | Extract | Compute):
        return step.number.relative
    return isinstance(step, Content | Expression | DataAt | Decode | Structure) and step.relative


def moves_cursor(step: Step) -> bool:
    """Return whether the cursor behind a step is one that the step has set."""
    if isinstance(step, Content | Expression):
        return not step.negated
    return isinstance(step, Jump | Extract | Compute)


def sets(step: Step) -> frozenset[str]:
    """Return the variable that a step sets."""
    return frozenset({step.name}) if isinstance(step, Extract | Compute) else frozenset()


def uses(step: Step) -> frozenset[str]:
    """Return the variables that a step uses."""
    values: list[object] = []
    if isinstance(step, Content):
        values += step.offset, step.depth, step.distance, step.within
    elif isinstance(step, DataAt):
        values.append(step.count)
    number: Number | None = getattr(step, "number", None)
    if number is not None:
        values += number.size, number.offset
    values += getattr(step, "value", None), getattr(step, "post_offset", None)
    return frozenset(value for value in values if isinstance(value, str))
