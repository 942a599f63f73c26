"""The files that are not Python are found in a checkout, found when installed, and missed with a lesson."""

from __future__ import annotations

from pathlib import Path

import pytest

from ids import paths
from ids.errors import IdsError


def test_in_a_checkout() -> None:
    assert (paths.bpf_dir() / "xdp_ids.c").is_file()
    assert (paths.shim_dir() / "include").is_dir()
    assert list(paths.rules_dir().glob("*.yaml"))
    assert paths.bpf_dir().parent == paths.CHECKOUT


def test_installed_under_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "share/ids/rules/policy").mkdir(parents=True)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert paths.rules_dir("policy") in (paths.CHECKOUT / "rules/policy", tmp_path / "share/ids/rules/policy")
    monkeypatch.setattr(paths, "CHECKOUT", tmp_path / "nowhere")
    assert paths.rules_dir("policy") == tmp_path / "share/ids/rules/policy"


def test_an_incomplete_installation_is_reported_with_its_remedy() -> None:
    with pytest.raises(IdsError, match=r"rules/nonesuch/ .* is missing \(searched: .*make setup"):
        paths.rules_dir("nonesuch")
