import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from app.train.machine import speed_record as command
from app.train.machine.machine_speed import BATCH, PATCH, PlainNetwork, measure_yardstick, yardstick_seconds
from app.train.machine.speed_record import note_speed, yardstick_facts

SMALL = {"patch": (16, 8, 8), "batch": 1}


def macs(network: torch.nn.Module, image: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        network.eval()(image)
    return int(counter.get_total_flops()) // 2


def test_the_network_is_the_published_one() -> None:
    """5.60 M parameters and 19.1 GMAC a patch of 40x56x40, of which a step takes nine."""
    with torch.device("meta"):
        network, image = PlainNetwork(), torch.empty(1, 1, *PATCH)
        assert macs(network, image) == pytest.approx(19.1e9, rel=0.02)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(5.60e6, rel=0.02)
    assert (PATCH, BATCH) == ((40, 56, 40), 9)


def test_it_is_that_of_dynamic_network_architectures() -> None:
    """Weights in their order, carried over, give the same logits of every level."""
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    theirs = unet.PlainConvUNet(
        *(1, 4, (32, 64, 128, 256), torch.nn.Conv3d, 3, (1, 2, 2, 2), 2, 3, 2),
        **{"conv_bias": True, "norm_op": torch.nn.InstanceNorm3d, "norm_op_kwargs": {"affine": True}},
        **{"nonlin": torch.nn.LeakyReLU, "nonlin_kwargs": {"inplace": True}, "deep_supervision": True},
    )
    ours = PlainNetwork()
    for one, other in zip(ordered(ours), ordered_like_ours(theirs), strict=True):
        one.load_state_dict(other.state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        for one, other in zip(ours(image), theirs(image), strict=True):
            torch.testing.assert_close(one, other)


def ordered(network: PlainNetwork) -> list[torch.nn.Module]:
    parts = (*network.encoder, *network.up, *network.decoder, *network.heads)
    return [module for part in parts for module in part.modules() if next(iter(module._parameters), None)]


def ordered_like_ours(theirs: torch.nn.Module) -> list[torch.nn.Module]:
    """Their decoder goes from the coarsest level to the finest, and holds the encoder too."""
    decoder = theirs.decoder
    parts = [*theirs.encoder.stages]
    for kind in (decoder.transpconvs, decoder.stages, decoder.seg_layers):
        parts += reversed([*kind])
    found = [module for part in parts for module in part.modules() if next(iter(module._parameters), None)]
    return list(dict.fromkeys(found))  # theirs names a block's parts twice


def test_a_step_goes_forward_and_backward_over_the_whole_batch() -> None:
    """Backward takes twice the work of forward; the first of two steps only warms up."""
    with torch.device("meta"):
        forward = macs(PlainNetwork(), torch.empty(2, 1, 16, 8, 8))
    with FlopCounterMode(display=False) as counter:
        assert yardstick_seconds("cpu", 1, patch=(16, 8, 8), batch=2) > 0
    assert counter.get_total_flops() / 2 == pytest.approx(2 * 3 * forward, rel=0.05)


@pytest.mark.slow
def test_the_process_of_its_own_answers() -> None:
    seconds = measure_yardstick(torch.device("cpu"), 1, **SMALL)
    assert seconds is not None and seconds > 0


def test_a_run_notes_the_speed_before_and_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert yardstick_facts(tmp_path, 90.0) == {}
    measured = iter([8.0, None, 10.0])
    monkeypatch.setattr(command, "measure_yardstick", lambda device, threads: next(measured))
    for _ in range(3):
        note_speed(tmp_path, torch.device("cpu"))
    assert yardstick_facts(tmp_path, 90.0) == {"yardstick_seconds": [8.0, 10.0], "yardstick_steps": 10.0}
    assert json.loads((tmp_path / "yardstick.json").read_text(encoding="utf-8")) == {"seconds": [8.0, 10.0]}
