"""What a GPU computes against what the CPU does; skipped on a machine without one."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from app.data.sample.augment import Augment
from app.data.sample.batches import BatchSource
from app.data.sample.patches import PatchSampler
from app.models.checkpoint import read_checkpoint, write_checkpoint
from app.train.step_memory import step_bytes
from app.train.timing import Subject, time_networks
from tests.support.cli import call, run_py
from tests.support.config import NONE
from tests.support.networks import SETTINGS, Bench, make_bench
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
GPU = torch.device("cuda")
SMALL = ("train=smoke", "op=cakes", "plan.patch=[16,16,16]", "plan.base_width=8", "plan.max_levels=2")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    """The folder of a run on the GPU, in the precision that is chosen there."""
    run = place / "auto"
    done = call(place, *SMALL, "device=cuda", f"paths.run={run}")
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
    return run


@pytest.fixture(scope="module")
def dense(place: Path) -> Path:
    """Likewise, with a network that can be decomposed."""
    run = place / "dense"
    done = call(place, *SMALL, "op=conv3d", "device=cuda", f"paths.run={run}")
    assert done.returncode == 0, done.stderr
    return run


def losses(run: Path) -> list[float]:
    return [row["train_loss"] for row in read_checkpoint(run / "last.pt").training["history"]]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.002), ("bf16", 0.02), ("fp16", 0.02)])
def test_losses_are_those_of_the_cpu(place: Path, precision: str, tolerance: float) -> None:
    runs = {}
    for device, name in (("cpu", "fp32"), ("cuda", precision)):
        runs[device] = place / f"{device}-{name}"
        if not runs[device].exists():
            words = (f"device={device}", f"train.precision={name}", f"paths.run={runs[device]}")
            done = call(place, *SMALL, *words)
            assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
    assert losses(runs["cuda"]) == pytest.approx(losses(runs["cpu"]), rel=tolerance)


def test_a_run_of_the_gpu_predicts_on_the_cpu_as_there(trained: Path, place: Path) -> None:
    case = next((place / "data").rglob("imagesTr/*.nii.gz"))
    labels = {}
    for device in ("cpu", "cuda"):
        output = place / f"masks-{device}"
        words = (f"predict.model={trained}", f"predict.input={case}", f"predict.output={output}")
        words = (*words, "predict.precision=fp32")
        done = call(place, "mode=predict", f"device={device}", *words)
        assert done.returncode == 0, done.stderr
        labels[device] = np.asarray(nib.load(output / case.name).dataobj)
    assert len(np.unique(labels["cpu"])) > 1
    assert np.mean(labels["cpu"] != labels["cuda"]) < 0.01


def test_a_resumed_run_goes_on_as_it_would_have(trained: Path, place: Path) -> None:
    """Equal except for the order in which a GPU adds."""
    run = place / "resumed"
    run.mkdir()
    (run / "stop").touch()
    done = call(place, *SMALL, "device=cuda", f"paths.run={run}")
    assert done.returncode == 0, done.stderr
    stopped = read_checkpoint(run / "last.pt")
    assert stopped.training["step"] < 4 and stopped.training["device_random"] is not None
    write_checkpoint(run / "last.pt", replace(stopped, training={**stopped.training, "requested": False}))
    done = run_py(place, f"train.resume={run}")
    assert done.returncode == 0, done.stderr
    assert losses(run) == pytest.approx(losses(trained), rel=0.01)


@pytest.mark.parametrize(
    "words",
    [
        ("mode=analyze", "op=cakes"),
        ("mode=search", "search.cost=latency", "search.budget=0.7", "train.steps=4"),
        ("mode=export", "export.model={trained}", "export.format=torch"),
        ("mode=compress", "compress.model={dense}", "compress.budget=0.7"),
        ("mode=time", "time.runs={trained}"),
        ("mode=cleanup", "cleanup.runs={trained}"),
    ],
)
def test_commands_run_on_the_gpu(trained: Path, dense: Path, place: Path, words: tuple[str, ...]) -> None:
    filled = [word.format(trained=trained, dense=dense) for word in words]
    done = call(place, *SMALL, *filled, "device=cuda", f"paths.run={place / words[0].partition('=')[2]}")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


@pytest.fixture
def bench(tmp_path: Path, make_task: MakeTask) -> Bench:
    return make_bench(make_task(), tmp_path / "cache")


def test_batches_made_on_the_gpu_are_those_of_the_cpu(bench: Bench) -> None:
    """Several readers with streams of their own; labels on the border between two may differ by rounding."""
    settings = replace(NONE, rotate=1.0, scale=1.0, blur=1.0, gamma=1.0, flip_axes=(0, 1, 2))
    plan = bench.plan
    margin = settings.margin(plan.patch, plan.spacing)
    patches = PatchSampler(
        bench.cached, size=plan.patch, margin=margin, batch=2, foreground_share=0.5, seed=0
    )
    chain = Augment(settings, patch=plan.patch, spacing=plan.spacing)
    there = BatchSource(patches, chain, seed=0, readers=3, device=GPU)
    here = BatchSource(patches, chain, seed=0)
    for found, wanted in zip(there.ahead(0, 12), here.ahead(0, 12), strict=True):
        assert found.image.device.type == found.labels.device.type == "cuda" and found.cases == wanted.cases
        torch.testing.assert_close(found.image.cpu(), wanted.image, atol=1e-3, rtol=1e-3)
        assert (found.labels.cpu() != wanted.labels).float().mean() < 0.001


def test_gradients_that_overflow_leave_the_weights(bench: Bench) -> None:
    """Half precision halves its scale and training continues; the step is counted."""
    state = bench.state(replace(SETTINGS, precision="fp16"), GPU)
    before = [parameter.clone() for parameter in state.network.parameters()]
    scale = state.scaler.get_scale()
    batch = next(iter(bench.batches().ahead(0, 1)))

    def steep(logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        return 1e6 * logits[0].float().square().mean()

    state.update(batch, steep, None)
    assert state.step == 1 and state.scaler.get_scale() < scale
    after = list(state.network.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_memory_foretold_is_about_what_a_step_takes(bench: Bench) -> None:
    plan = replace(bench.plan, patch=(64, 64, 64), batch=2)
    state = bench.state(replace(SETTINGS, precision="fp32"), GPU)
    image = torch.randn(2, 1, *plan.patch, device=GPU).contiguous(memory_format=torch.channels_last_3d)

    def loss(logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        return sum(level.square().mean() for level in logits)  # type: ignore[return-value]

    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        state.optimizer.zero_grad(set_to_none=True)
        loss(state.network(image), image).backward()
        state.optimizer.step()
    taken = torch.cuda.max_memory_allocated()
    assert taken < 1.3 * step_bytes(bench.network, plan, loss) + 50e6
    assert step_bytes(bench.network, plan, loss) < 3 * taken


def test_milliseconds_wait_for_the_gpu(bench: Bench) -> None:
    """A patch with edges eight times as long takes longer; a clock that did not wait would not see it."""

    def subject(edge: int) -> Subject:
        state = bench.state(replace(SETTINGS, precision="fp32"), GPU)
        return Subject(state, loss, 1, 2, (edge, edge, edge), 1, None)

    def loss(logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        return logits[0].square().mean()

    found = time_networks({"small": subject(32), "large": subject(256)})
    assert found["large"].forward_ms > 2 * found["small"].forward_ms
    assert found["large"].step_ms > 2 * found["small"].step_ms
