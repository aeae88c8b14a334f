"""Earlier names in commands and stored configurations."""

import importlib
from typing import Any

import pytest

from app.core.renamed import KINDS, TARGETS, renamed_config, renamed_override


@pytest.mark.parametrize(
    ("word", "today"),
    [
        ("infer.overlap=0.5", "sliding.overlap=0.5"),
        ("infer=fast", "sliding=fast"),
        ("op=dice", "op=dicenet"),
        ("op=conv3d,dice", "op=conv3d,dicenet"),
        ("decoder_op=dice", "op@decoder_op=dicenet"),
        ("decoder_op=same", "op@decoder_op=null"),
        ("experiment=recipe", "experiment=standard"),
        ("search.method=budget", "search.method=gates"),
        ("search.unit=macs", "search.cost=macs"),
        ("++train.foreground_share=0.3", "++plan.foreground_share=0.3"),
        ("decoder_op.attention=eca", "decoder_op.attention=eca"),
        ("task.folder=infer=fast", "task.folder=infer=fast"),
        ("sliding=fast", "sliding=fast"),
        ("-m", "-m"),
    ],
)
def test_overrides_get_todays_names(word: str, today: str) -> None:
    assert renamed_override(word) == today == renamed_override(today)


def test_every_stored_target_is_found_under_its_new_name() -> None:
    for target in TARGETS.values():
        module, _, name = target.rpartition(".")
        assert hasattr(importlib.import_module(module), name), target
    assert set(KINDS.values()) == {"DiceNet"}


def test_a_stored_configuration_is_renamed_and_one_of_today_stays() -> None:
    stored: dict[str, Any] = {
        "mode": {"run": "app.cli.search.run"},
        "infer": {"overlap": 0.5, "mirror_axes": [2]},
        "op": {"_target_": "app.ops.dice.Dice", "reduction": 4},
        "train": {"steps": 600, "foreground_share": 0.5},
        "plan": {"foreground_share": None},
        "search": {"method": "paper_performance", "unit": "macs"},
    }
    today = renamed_config(stored)
    assert today == {
        "mode": {"run": "app.cli.modes.search.run"},
        "sliding": {"overlap": 0.5, "mirror_axes": [2]},
        "op": {"_target_": "app.operators.dicenet.DiceNet", "reduction": 4},
        "train": {"steps": 300},  # it was stored with the factor 2 of its method
        "plan": {"foreground_share": 0.5},
        "search": {"method": "paper_performance", "cost": "macs"},
    }
    assert renamed_config(today) == today and stored["train"]["steps"] == 600


def test_what_a_compression_stored_is_not_applied_again() -> None:
    stored: dict[str, Any] = {
        "mode": {"run": "app.cli.compress.run"},
        "infer": {},
        "choices": {"op": "conv3d-dwd"},
        "optimizer": {"lr": 0.0005},
        "compress": {"method": "dwd", "finetune_rate": 0.5, "unit": "macs"},
    }
    today = renamed_config(stored)
    assert (today["choices"]["op"], today["optimizer"]["lr"]) == ("conv3d", 0.001)
    assert renamed_config(today) == today
