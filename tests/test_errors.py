"""Errors travel: a worker reports to the engine what it could not load."""

from __future__ import annotations

import pickle

import pytest

from ids import errors
from ids.errors import (
    CaptureError,
    ConfigError,
    IdsError,
    KernelError,
    Location,
    NoAnswer,
    NoGate,
    NotRunning,
    PluginError,
    RuleError,
    RuleLeftOut,
    RulesRefused,
    UsageError,
)
from ids.replay.crew import WorkerDied

PLACE = Location("r.yaml", 3, 1)
RULE = RuleError("unknown key 'tilte'", PLACE, "did you mean 'title'?")
ERRORS: list[IdsError] = [
    RULE,
    CaptureError("no capture", PLACE),
    ConfigError("unknown setting", PLACE, "see docs/settings.md"),
    RulesRefused([RULE, RuleError("no sid", PLACE)]),
    KernelError("no privilege", "run as root"),
    NoGate("nothing is pinned"),
    NotRunning("nobody is there"),
    NoAnswer("it does not answer"),
    PluginError("cannot be imported"),
    UsageError("which interface?"),
    RuleLeftOut("geoip: it is not supported", PLACE, "leave it out", "keyword geoip"),
    WorkerDied("worker 1 died"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_in_another_process(error: IdsError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, again.exit_code) == (str(error), error.args, error.exit_code)
    assert repr(vars(again)) == repr(vars(error))


def test_every_kind_of_error_is_tried() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, IdsError)}
    assert kinds - {IdsError, errors.SourceError} <= {type(error) for error in ERRORS}
