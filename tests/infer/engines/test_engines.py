from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from app.core.errors import InputError
from app.core.files import write_json, write_text
from app.infer.engines import ENGINES, find_engine, missing_packages
from app.infer.engines.engine import Member
from app.infer.engines.int8_file import LARGEST_LOSS, int8_paths
from app.infer.engines.parity import check_parity
from app.infer.scan.run_models import flipped_axes, read_members, stored_sliding
from app.infer.scan.segmenter import Segmenter
from app.infer.window.sliding import SlidingSettings
from app.models.checkpoint import write_checkpoint
from app.models.network import design
from app.operators import Operator
from app.operators.dicenet import DiceNet
from app.operators.rolling import Rolling
from app.operators.shift import Shift
from tests.support.networks import SLIDING, Bench, make_bench
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e

CPU = torch.device("cpu")
EXACT = [name for name in ENGINES if name != "openvino_int8"]


@pytest.fixture
def bench(make_task: MakeTask, tmp_path: Path) -> Bench:
    return make_bench(make_task(cases=3), tmp_path / "cache")


@pytest.fixture
def member(bench: Bench, tmp_path: Path) -> Member:
    write_checkpoint(tmp_path / "run" / "last.pt", bench.checkpoint(bench.state()))
    (member,) = read_members([tmp_path / "run"], "last")
    return member


@torch.inference_mode()
@pytest.mark.parametrize("name", [name for name in EXACT if name != "compile"])
def test_every_engine_agrees_with_torch(member: Member, name: str) -> None:
    if missing := missing_packages(name):
        pytest.skip(f"needs {missing}")
    engine, reference = find_engine(name, CPU)(member), find_engine("torch", CPU)(member)
    for shape in ((1, 1, 16, 16, 16), (3, 1, 16, 20, 16)):
        windows = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        logits = engine(windows)
        torch.testing.assert_close(logits, reference(windows), atol=1e-4, rtol=0)
        logits += 1  # the caller's to change
        torch.testing.assert_close(engine(windows), reference(windows), atol=1e-4, rtol=0)


def member_of(operator: Operator, bench: Bench, run: Path) -> Member:
    """A member whose network's convolutions are all of this operator."""
    shape = replace(bench.network.shape, patch=bench.plan.patch)
    other = replace(bench, network=design(bench.network.model, shape, operator, None))
    write_checkpoint(run / "last.pt", other.checkpoint(other.state()))
    (member,) = read_members([run], "last")
    return member


@pytest.mark.parametrize("operator", [Rolling(1, 0.9), Shift("address", 4, 2, 0.5)], ids=["rolling", "shift"])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_operators_that_move_channels_run_on_windows_of_any_size(
    bench: Bench, tmp_path: Path, name: str, operator: Operator
) -> None:
    if missing := missing_packages(name):
        pytest.skip(f"needs {missing}")
    member = member_of(operator, bench, tmp_path / "run")
    windows = torch.randn((2, 1, 18, 20, 16), generator=torch.Generator().manual_seed(0))
    logits = find_engine(name, CPU)(member)(windows)
    torch.testing.assert_close(logits, find_engine("torch", CPU)(member)(windows), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_network_made_for_one_size_of_window_is_refused_as_onnx(
    bench: Bench, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if missing := missing_packages(name):
        pytest.skip(f"needs {missing}")
    member = member_of(DiceNet(4), bench, tmp_path / "run")
    with pytest.raises(InputError, match=r"predict\.engine=torch") as refused:
        find_engine(name, CPU)(member)
    for token in (str(member.run), "Dice"):
        assert token in str(refused.value)
    assert "\n" not in str(refused.value) and not list((tmp_path / "run").glob("export/*.onnx"))
    assert capfd.readouterr().out == ""


def test_parity_is_also_asked_of_a_window_longer_than_the_patch(member: Member) -> None:
    exact = find_engine("torch", CPU)(member)

    def of_one_size(windows: torch.Tensor) -> torch.Tensor:
        logits = exact(windows)
        return logits if windows.shape[2:] == (16, 16, 16) else logits + 7

    assert check_parity(of_one_size, member.checkpoint) <= 1e-4
    with pytest.raises(InputError, match=r"\b7\b"):
        check_parity(of_one_size, member.checkpoint, longer=True)


@pytest.mark.slow
def test_the_compiled_network_agrees_with_torch(member: Member) -> None:
    windows = torch.randn(2, 1, 16, 16, 16)
    compiled, reference = find_engine("compile", CPU)(member), find_engine("torch", CPU)(member)
    torch.testing.assert_close(compiled(windows), reference(windows), atol=1e-4, rtol=0)


def test_unknown_and_unusable_engines_are_named(member: Member) -> None:
    with pytest.raises(InputError, match=r"predict\.engine") as error:
        find_engine("abacus", CPU)
    for token in ("abacus", *ENGINES):
        assert token in str(error.value)
    if not missing_packages("openvino_int8"):
        with pytest.raises(InputError, match=r"export\.format=int8") as error:
            find_engine("openvino_int8", CPU)(member)
        assert "openvino_int8" in str(error.value) and str(member.run) in str(error.value)
        graph, record = int8_paths(member)
        write_json(record, {"dice_lost": 0.01})
        graph.write_text("", encoding="utf-8")
        with pytest.raises(InputError, match=r"0\.01\d*\b") as error:
            find_engine("openvino_int8", CPU)(member)
        assert "openvino_int8" in str(error.value) and str(LARGEST_LOSS) in str(error.value)


def test_several_networks_are_averaged(bench: Bench, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "one" / "last.pt", bench.checkpoint(bench.state()))
    torch.manual_seed(5)
    other = bench.state()
    bench.train(other)
    write_checkpoint(tmp_path / "two" / "last.pt", bench.checkpoint(other))
    both = Segmenter.load([tmp_path / "one", tmp_path / "two"], sliding=SLIDING)
    windows = torch.randn(1, 1, 16, 16, 16)
    assert len(both.members) == len(set(both.digests)) == 2
    image = np.random.default_rng(0).normal(50, 20, (16, 16, 16)).astype(np.float32)
    labels = both(image, np.eye(4))
    assert labels.shape == image.shape and labels.dtype == np.uint8
    one, two = both.members
    assert not torch.equal(one(windows), two(windows))

    def average(windows: torch.Tensor) -> torch.Tensor:
        return (one(windows) + two(windows)) / 2

    alone = [replace(both, members=(engine,), plans=both.plans[:1]) for engine in (average, one, two)]
    same, *other = (labels == segmenter(image, np.eye(4)) for segmenter in alone)
    assert same.mean() > 0.999 and all(agreed.mean() < 0.99 for agreed in other)


def test_networks_prepared_for_differently_are_not_averaged(bench: Bench, tmp_path: Path) -> None:
    first = bench.checkpoint(bench.state())
    write_checkpoint(tmp_path / "one" / "last.pt", first)
    write_checkpoint(
        tmp_path / "two" / "last.pt", replace(first, plan=replace(first.plan, spacing=(2.0, 1.0, 1.0)))
    )
    with pytest.raises(InputError, match="spacing") as error:
        read_members([tmp_path / "one", tmp_path / "two"], "last")
    for token in (str(tmp_path / "two"), "2.0, 1.0, 1.0", "1.0, 1.0, 1.0"):
        assert token in str(error.value)


def write_config(run: Path, flips: list[int], mirrors: list[int]) -> Path:
    config = {
        "augment": {"flip_axes": flips},
        "infer": {"overlap": 0.3, "windows": 4, "mirror_axes": mirrors},
    }
    write_text(run / "config.yaml", yaml.safe_dump(config))
    return run


def test_windows_are_laid_as_the_run_was_evaluated(bench: Bench, tmp_path: Path) -> None:
    """The checkpoints of earlier runs do not say what was flipped: their config.yaml does."""
    checkpoint = replace(bench.checkpoint(bench.state()), flip_axes=None)
    first = Member(write_config(tmp_path / "first", [0, 1], [1]), checkpoint)
    assert stored_sliding([first]) == SlidingSettings(0.3, 4, (1,))
    other = Member(write_config(tmp_path / "other", [0], [0]), checkpoint)
    assert flipped_axes([first, other]) == (0,) and stored_sliding([first, other]).mirror_axes == ()
    with pytest.raises(InputError, match=r"nowhere.config\.yaml"):
        stored_sliding([Member(tmp_path / "nowhere", checkpoint)])
    write_text(first.run / "config.yaml", "augment: {}")
    with pytest.raises(InputError, match=r"augment\.flip_axes") as error:
        flipped_axes([first])
    assert str(first.run / "config.yaml") in str(error.value)
    recorded = Member(first.run, replace(checkpoint, flip_axes=(2,)))
    assert flipped_axes([recorded]) == (2,)


def test_axes_that_training_never_flipped_are_not_mirrored(bench: Bench, tmp_path: Path) -> None:
    run = write_config(tmp_path / "run", [2], [2])
    write_checkpoint(run / "last.pt", bench.checkpoint(bench.state()))
    assert Segmenter.load(run).sliding.mirror_axes == (2,)
    with pytest.raises(InputError, match="mirror_axes") as error:
        Segmenter.load(run, sliding=replace(SLIDING, mirror_axes=(0, 1, 2)))
    for token in ("[0, 1, 2]", "[2]", "augment.flip_axes"):
        assert token in str(error.value)
