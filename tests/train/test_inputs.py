"""Batches that a training is fed with."""

import pytest
import torch

from app.train.inputs import count_readers


@pytest.mark.parametrize(
    ("device", "cores", "taken", "readers"),
    [
        *(("cpu", 2, 2, 0), ("cpu", 2, 1, 1), ("cpu", 32, 16, 4), ("cpu", 1, 4, 0)),
        *(("cuda:1", 16, 16, 4), ("cuda", 3, 3, 2), ("cuda", 1, 1, 1), ("mps", 8, 8, 4)),
    ],
)
def test_readers_take_the_cores_that_steps_leave(device: str, cores: int, taken: int, readers: int) -> None:
    assert count_readers(torch.device(device), cores, taken) == readers
