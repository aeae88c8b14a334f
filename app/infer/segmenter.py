"""A trained network as a function from a scan to a label map in the scan's own geometry."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.core import run_folder
from app.core.errors import InputError
from app.core.plan import Plan
from app.data.geometry import restore_logits
from app.data.prepare import check_channels, prepare
from app.data.volume_io import Volume, read_volume
from app.infer.sliding import SlidingSettings, sliding_logits
from app.models.checkpoint import Checkpoint, read_checkpoint
from app.models.network import to_device


@dataclass(frozen=True)
class Segmenter:
    """A network in eval mode, with what it was trained to see and name."""

    network: nn.Module
    plan: Plan
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    sliding: SlidingSettings
    device: torch.device

    @classmethod
    def load(
        cls, run: Path, *, sliding: SlidingSettings, device: torch.device, weights: str = "last"
    ) -> "Segmenter":
        """From a run folder; `weights` is last or best.

        Raises:
            InputError: no such run or checkpoint, or a damaged one.
        """
        names = {"last": run_folder.LAST, "best": run_folder.BEST}
        if weights not in names:
            raise InputError(f"weights: got {weights!r}, wanted last or best")
        return cls.from_checkpoint(read_checkpoint(run / names[weights]), sliding=sliding, device=device)

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, sliding: SlidingSettings, device: torch.device
    ) -> "Segmenter":
        """With the averaged weights where training kept an average."""
        network = checkpoint.network.build()
        network.load_state_dict(checkpoint.inference_weights)
        network = to_device(network, device).eval()
        return cls(network, checkpoint.plan, checkpoint.modalities, checkpoint.labels, sliding, device)

    def __call__(self, volume: Volume) -> NDArray[np.uint8]:
        """A scan (C, i, j, k) -> label values (i, j, k).

        Raises:
            InputError: other channels than the network was trained on.
        """
        check_channels(volume, self.modalities, "scan")
        prepared = prepare(volume, None, self.plan)
        image = torch.from_numpy(prepared.image).to(self.device)
        logits = sliding_logits(self.network, image, self.plan, self.sliding)
        return restore_logits(logits.float().cpu(), prepared.geometry)

    def segment_file(self, path: Path) -> NDArray[np.uint8]:
        """A scan's file -> label values (i, j, k).

        Raises:
            InputError: the file cannot be read, or has other channels than the network was trained on.
        """
        volume = read_volume(path)
        check_channels(volume, self.modalities, str(path))
        return self(volume)
