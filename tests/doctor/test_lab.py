"""Whether `ids lab` can run: every ingredient is tried, and the first that is missing is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids.doctor import Status
from ids.doctor.lab import check_lab, load_xdp_program, make_namespaces
from tests.doctor.fake import healthy


def nothing() -> None:
    """Succeed."""


def refuse() -> None:
    raise PermissionError(1, "Operation not permitted")


def test_all_ingredients_there(tmp_path: Path) -> None:
    checks = check_lab(healthy(tmp_path), load=nothing, unshare=nothing)
    assert {check.status for check in checks} == {Status.OK}


def test_what_is_missing_is_reported_and_nothing_is_tried_then(tmp_path: Path) -> None:
    checks = check_lab(healthy(tmp_path, bcc=None, tools=frozenset()), load=refuse, unshare=refuse)
    assert [check.name for check in checks if check.status is Status.FAIL] == ["bcc", "ip"]


@pytest.mark.parametrize(
    ("load", "unshare", "name"), [(refuse, nothing, "xdp"), (nothing, refuse, "network namespaces")]
)
def test_what_the_kernel_forbids_is_reported(tmp_path: Path, load: object, unshare: object, name: str) -> None:
    checks = check_lab(healthy(tmp_path), load=load, unshare=unshare)  # type: ignore[arg-type]
    (check,) = [check for check in checks if check.status is Status.FAIL]
    assert check.name == name
    assert "Operation not permitted" in check.found
    assert check.remedy


@pytest.mark.root
def test_the_attempts_work_as_root() -> None:
    load_xdp_program()
    make_namespaces()
