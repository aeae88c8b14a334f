"""Several processes have the loss and gradients of one, and exchange sums where a loss is made of sums."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss

from app.losses.losses import dice_ce
from app.train.machine.processes import Processes
from app.train.machine.shared_loss import exchanging_sums
from tests.support.cli import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
PROGRAM = """
import json, sys
from pathlib import Path
import torch
import torch.distributed as dist
from monai.losses import DeepSupervisionLoss, DiceCELoss
from app.data.sample.batches import Batch
from app.losses.losses import dice_ce
from app.train.machine.processes import Processes
from app.train.state import batch_loss

torch.set_num_threads(1)
rank, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
if count > 1:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store-{count}", rank=rank, world_size=count)
processes, exchanged = Processes(rank, count), []

class Levels(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = torch.nn.Conv3d(1, 3, 3, padding=1), torch.nn.Conv3d(1, 3, 1, stride=2)
    def forward(self, x):
        return [self.one(x), self.two(x)]

generator = torch.Generator().manual_seed(0)
image = torch.randn(4, 1, 6, 8, 8, generator=generator)
labels = torch.randint(3, (4, 6, 8, 8), generator=generator)
mine = processes.places(4, 1)
batch = Batch(image[mine], labels[mine], ("case",) * len(mine))
whole = Processes.whole

def counted(self, x):
    exchanged.extend(level.numel() for level in (x if isinstance(x, list) else [x]))
    return whole(self, x)

Processes.whole = counted
found = {}
for name, inner in (("ours", dice_ce()), ("monai", DiceCELoss(to_onehot_y=True, softmax=True, batch=True))):
    network = Levels()
    replica = processes.replicate(network)
    exchanged.clear()
    value = batch_loss(replica, batch, DeepSupervisionLoss(inner), processes=processes)
    (count * value).backward()
    gradients = [x.grad.flatten().tolist() for x in network.parameters()]
    found[name] = {"value": value.item(), "gradients": gradients, "exchanged": sum(exchanged)}
if rank == 0:
    (folder / f"{count}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_and_four_processes_compute_what_one_does(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    found = {}
    for count in (1, 2, 4):
        words = [sys.executable, str(tmp_path / "program.py")]
        started = [
            subprocess.Popen([*words, str(rank), str(count), str(tmp_path)], env=ENVIRONMENT)
            for rank in range(count)
        ]
        assert [process.wait() for process in started] == [0] * count
        found[count] = json.loads((tmp_path / f"{count}.json").read_text(encoding="utf-8"))
    for name in ("ours", "monai"):
        for count in (2, 4):
            one, several = found[1][name], found[count][name]
            assert several["value"] == pytest.approx(one["value"], abs=1e-6)
            for ours, theirs in zip(several["gradients"], one["gradients"], strict=True):
                assert ours == pytest.approx(theirs, abs=1e-6)
    assert found[4]["ours"]["exchanged"] == 2 * 4 * 3  # levels, sums, classes
    assert found[4]["monai"]["exchanged"] > 3 * 6 * 8 * 8  # all logits


def test_losses_of_sums_exchange_them_at_every_level() -> None:
    processes = Processes(0, 1)
    assert exchanging_sums(DiceCELoss(), processes.whole) is None
    assert exchanging_sums(DeepSupervisionLoss(DiceCELoss()), processes.whole) is None
    levels = DeepSupervisionLoss(dice_ce())
    found = exchanging_sums(levels, processes.whole)
    assert found is not None and found is not levels and levels.loss.exchange is None
    logits = [torch.randn(2, 3, 4, 4, 4), torch.randn(2, 3, 2, 2, 2)]
    labels = torch.randint(3, (2, 1, 4, 4, 4)).float()
    assert torch.equal(found(logits, labels), levels(logits, labels))
