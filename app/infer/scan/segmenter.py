"""The Segmenter: trained networks as a function from a scan to a label map in the scan's own geometry.

from app import Segmenter
labels = Segmenter.load("runs/hippocampus/first")("scan.nii.gz")
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import ArrayLike

from app.core.errors import InputError
from app.core.plan import Plan
from app.core.reading import Reading
from app.core.types import Labels
from app.data.prepare.geometry import Region, oriented_spacing
from app.data.prepare.prepare import Prepared, check_channels, prepare
from app.infer.engines import find_engine
from app.infer.engines.eager import eager_engine
from app.infer.engines.engine import Engine, Member
from app.infer.engines.interleaved import interleaved_engine, interleaved_plan
from app.infer.scan.cleanup import NO_CLEANUP, Cleanup, clean, read_cleanup
from app.infer.scan.decode_dice import decode_dice
from app.infer.scan.distant_parts import drop_distant
from app.infer.scan.mapped import on_disk
from app.infer.scan.memory import require_memory
from app.infer.scan.region import RegionFinder, touching
from app.infer.scan.run_models import flipped_axes, list_runs, read_members, stored_sliding
from app.infer.scan.segmentation import Arrays, Segmentation, segment
from app.infer.scan.warnings import scan_warnings
from app.infer.window.sliding import SlidingSettings
from app.io.header_warnings import header_warnings
from app.io.images import labels_to_itk, volume_from_array, volume_from_itk
from app.io.label_values import class_type, to_values
from app.io.volumes import Volume, read_volume
from app.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)
_GROWTHS = 3  # times that a region may grow, each time by at most half its length


@dataclass(frozen=True)
class Segmenter:
    """A function from scans to label maps, by the mean logits of networks with equal labels and preparing."""

    members: tuple[Engine, ...]
    plans: tuple[Plan, ...]
    """Plans of the members, with the same spacing, normalisation and patch."""
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    sliding: SlidingSettings
    memory_gb: float | None = None
    """Most memory of the process in GB; scans are processed in parts to stay below it."""
    cleanup: Cleanup = NO_CLEANUP
    """Clean-up of label maps, chosen by cross-validation."""
    joining_mm: float | None = None
    """Foreground parts farther than this from the others are dropped, as in Checkpoint; None keeps all."""
    digests: tuple[str, ...] = ()
    """SHA-256 of each member's weights."""
    reading: Reading = field(default_factory=Reading)
    """Settings for reading scans from files, the same as in training."""
    values: tuple[int, ...] = ()
    """Label values of `labels` in label maps, as in Checkpoint; empty for 0, 1, 2, ..."""
    find_region: RegionFinder | None = None
    """First stages of runs in two stages; None if networks work on whole scans."""

    @classmethod
    def load(
        cls,
        runs: Path | str | Sequence[Path | str],
        *,
        sliding: SlidingSettings | None = None,
        device: torch.device | str = "cpu",
        weights: str = "last",
        engine: str = "torch",
        memory_gb: float | None = None,
        precision: str = "auto",
    ) -> "Segmenter":
        """Return the Segmenter of one or several run folders, or of the folder of all folds.

        `sliding` is by default that of the first run's evaluation. `weights` is last or best, `engine` one of
        app.infer.engines, `precision` fp32, bf16, fp16 or auto.

        Raises:
            InputError: a run or checkpoint is missing or damaged, runs cannot be averaged, or `sliding`
                mirrors axes that a training did not flip.
        """
        folders = list_runs([Path(run) for run in ([runs] if isinstance(runs, Path | str) else runs)])
        members = read_members(folders, weights)
        return cls.from_members(
            members,
            sliding=sliding or stored_sliding(members),
            device=device,
            engine=engine,
            memory_gb=memory_gb,
            precision=precision,
        )

    @classmethod
    def from_members(
        cls,
        members: Sequence[Member],
        *,
        sliding: SlidingSettings,
        device: torch.device | str = "cpu",
        engine: str = "torch",
        memory_gb: float | None = None,
        precision: str = "auto",
    ) -> "Segmenter":
        """Return the Segmenter of networks read by `read_members`.

        Raises:
            InputError: the engine is not installed, or `sliding` mirrors axes that a training did not flip.
        """
        if sliding.mirror_axes:
            sliding.check_mirrors(flipped_axes(members))
        sliding = sliding.suited(
            fits_other_sizes=all(member.checkpoint.network.fits_other_sizes() for member in members)
        )
        make = find_engine(engine, torch.device(device), precision)
        first = members[0].checkpoint
        return cls(
            members=tuple(make(member) for member in members),
            plans=tuple(member.checkpoint.plan for member in members),
            modalities=first.modalities,
            labels=first.labels,
            sliding=sliding,
            memory_gb=memory_gb,
            cleanup=read_cleanup([member.run for member in members]),
            joining_mm=_allowed_distance([member.checkpoint for member in members]),
            digests=tuple(member.checkpoint.digest for member in members),
            reading=first.reading,
            values=first.values,
            find_region=_finder([member.checkpoint for member in members], torch.device(device)),
        )

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        sliding: SlidingSettings,
        device: torch.device,
        precision: torch.dtype = torch.float32,
        run: Path | None = None,
    ) -> "Segmenter":
        """Return the Segmenter of one network, run by torch.

        `run` is a run folder with a record of how the network runs fastest.
        """
        engine = eager_engine(Member(run or Path(), checkpoint), device, precision)
        return cls(
            members=(engine,),
            plans=(checkpoint.plan,),
            modalities=checkpoint.modalities,
            labels=checkpoint.labels,
            sliding=sliding.suited(fits_other_sizes=checkpoint.network.fits_other_sizes()),
            joining_mm=checkpoint.joining_mm,
            reading=checkpoint.reading,
            values=checkpoint.values,
            find_region=_finder([checkpoint], device),
        )

    def __call__(self, image: Any, affine: ArrayLike | None = None) -> Any:
        """Return the label values of a scan, in the scan's own geometry.

        `image` is one of three kinds. The path of a scan gives an array (i, j, k) in its file's axis order,
        uint8, or uint16 if a value is above 255. A SimpleITK image (scalar, or a vector of channels) gives an
        image on the same grid. An array (i, j, k) or (C, i, j, k), with its `affine` from voxels to RAS
        millimetres, or a Volume, gives an array (i, j, k). Intensities must be in the unit of the training
        scans: Hounsfield units for CT.

        Raises:
            InputError: the scan is unreadable, has other channels than the networks were trained on, or does
                not fit into memory.
        """
        if isinstance(image, Path | str):
            volume = read_volume(Path(image), self.reading)
            check_channels(volume, self.modalities, str(image))
            for told in header_warnings(Path(image), self.reading).values():
                log.warning("%s: %s", image, told)
            return self._values(volume)
        if isinstance(image, sitk.Image):
            return labels_to_itk(self._values(volume_from_itk(image)), image)
        return self._values(image if isinstance(image, Volume) else volume_from_array(image, affine))

    @property
    def label_values(self) -> tuple[int, ...]:
        """Label values of classes 0, 1, 2, ... in label maps."""
        return self.values[: len(self.labels)] or tuple(range(len(self.labels)))

    def prepare(self, volume: Volume) -> Prepared:
        """Return a scan on the networks' grid, for `segment`.

        The two are separate so that the next scan can be prepared while one is segmented.

        Raises:
            InputError: the scan has other channels than the networks were trained on, or does not fit into
                memory.
        """
        check_channels(volume, self.modalities, "scan")
        region = None if self.find_region is None else self.find_region(volume, self.plans[0])
        return self._prepare(volume, region)

    def segment(self, prepared: Prepared, arrays: Arrays) -> Segmentation:
        """Fill `arrays`, on the scan's own grid, from a prepared scan.

        If labels touch a side of a region that is inside the scan, the region grows there and is segmented
        again.

        Raises:
            InputError: the scan does not fit into memory.
        """
        if self.sliding.decode == "dice" and arrays.probabilities is None:
            shape = (len(self.labels), *arrays.labels.shape)
            arrays = replace(arrays, probabilities=on_disk(shape))
        segmentation = self._segment(prepared, arrays)
        for _ in range(_GROWTHS):
            wider = touching(arrays.labels, prepared.geometry) if prepared.source is not None else None
            if wider is None or prepared.source is None:
                break
            try:
                prepared = self._prepare(prepared.source, wider)
                segmentation = self._segment(prepared, arrays)
            except InputError as error:  # too little memory: the result for the smaller region is kept
                log.warning("labels reach the edge of the region found, and it cannot grow there: %s", error)
                break
        if self.sliding.decode == "dice" and arrays.probabilities is not None:
            decode_dice(arrays.probabilities, arrays.labels)
        if self.joining_mm is not None:
            segmentation = replace(segmentation, dropped=self._drop_distant(arrays.labels, prepared))
        clean(arrays.labels, self.cleanup, self.labels)
        return segmentation

    def _drop_distant(self, labels: Labels, prepared: Prepared) -> str:
        """Drop foreground far from the rest, and return a sentence on it if there was any."""
        assert self.joining_mm is not None
        spacing = prepared.geometry.scan_spacing
        dropped = drop_distant(labels, spacing, self.joining_mm) * math.prod(spacing) / 1000
        return (
            f"dropped {dropped:.2g} ml of foreground, more than {self.joining_mm:g} mm from the rest; "
            "predict.cleanup=false keeps it"
            if dropped
            else ""
        )

    def _prepare(self, volume: Volume, region: Region | None) -> Prepared:
        """Return the scan on the grid, which has more slices if it is divided into stacks."""
        plan = interleaved_plan(self.plans[0], oriented_spacing(volume.affine))
        size = volume.voxels.shape[1:] if region is None else region.size
        finer = math.prod(volume.spacing) / math.prod(plan.spacing)  # network voxels per scan voxel
        needed = volume.voxels.itemsize * len(volume.voxels) * math.prod(size) * finer
        require_memory(round(needed), self.memory_gb, "preparing this scan")
        prepared = prepare(volume, None, plan, region)
        return prepared if region is None else replace(prepared, source=volume)

    def _segment(self, prepared: Prepared, arrays: Arrays) -> Segmentation:
        own = prepared.geometry.spacing
        pairs = zip(self.members, self.plans, strict=True)
        return segment(
            prepared,
            arrays,
            [interleaved_engine(member, plan, own) for member, plan in pairs],
            plans=[interleaved_plan(plan, own) for plan in self.plans],
            labels=self.labels,
            sliding=self.sliding,
            memory_gb=self.memory_gb,
        )

    def classes(self, volume: Volume) -> Labels:
        """Return the class, an index into `labels`, of each voxel (i, j, k) in the scan's own geometry."""
        return self._classes(self.prepare(volume))

    def _values(self, volume: Volume) -> Labels:
        prepared = self.prepare(volume)
        for warning in scan_warnings(volume, prepared, self.plans[0], self.modalities):
            log.warning("scan: %s", warning)
        return to_values(self._classes(prepared), self.label_values)

    def _classes(self, prepared: Prepared) -> Labels:
        arrays = Arrays(np.zeros(prepared.geometry.scan, dtype=class_type(len(self.labels))))
        self.segment(prepared, arrays)
        return arrays.labels


def _allowed_distance(checkpoints: Sequence[Checkpoint]) -> float | None:
    """Return the largest distance that one of the networks allows; None if one of them allows any."""
    allowed = [checkpoint.joining_mm for checkpoint in checkpoints]
    return None if None in allowed else max(mm for mm in allowed if mm is not None)


def _finder(checkpoints: Sequence[Checkpoint], device: torch.device) -> RegionFinder | None:
    locators = [checkpoint.locator for checkpoint in checkpoints if checkpoint.locator is not None]
    return RegionFinder(locators, device) if locators else None
