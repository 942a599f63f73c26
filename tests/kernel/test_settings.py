"""What a person writes into the settings is what is meant."""

from __future__ import annotations

import pytest
import yaml

from ids.kernel.settings import FastPathSettings


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("egress: off", {"egress": "off"}),
        ("egress: on", {"egress": "on"}),
        ("egress: 'on'", {"egress": "on"}),
        ("egress: auto", {"egress": "auto"}),
        ("replay: off", {"replay": "off"}),
        ("replay: model", {"replay": "model"}),
    ],
)
def test_on_and_off_are_words_although_yaml_reads_them_as_true_and_false(written: str, meant: dict[str, str]) -> None:
    settings = FastPathSettings.model_validate(yaml.safe_load(written))
    assert settings.model_dump(include=set(meant)) == meant
