"""Fine-tuning: start a training from the weights of another one, and record which tensors were taken."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import read_json, remove, write_json
from app.core.listed import listed
from app.core.task import Case, Task
from app.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from app.models.network import NetworkSpec
from app.models.transfer import Transfer, transfer

log = logging.getLogger(__name__)

_NAMED = 5  # tensors named in a message; init.json lists all of them


@dataclass(frozen=True)
class Origin:
    """The network whose weights a training starts from, and its name in messages."""

    name: str
    checkpoint: Checkpoint

    def first_stage(self) -> "Origin | None":
        """Return its first stage as an origin; None if it has none."""
        found = self.checkpoint.locator
        if found is None:
            return None
        coarse = replace(
            self.checkpoint, network=found.network, plan=found.plan, weights=found.weights, locator=None
        )
        return Origin(f"the first stage of {self.name}", coarse)


def read_origin(path: Path) -> Origin:
    """Read the weights of a run folder, a checkpoint file or an exported bundle, without its training state.

    Raises:
        InputError: the path is none of these, or the checkpoint cannot be read.
    """
    inside = (path / run_folder.LAST, path / run_folder.BUNDLE_WEIGHTS)
    file = next((each for each in (path, *inside) if each.is_file()), None)
    if file is None:
        raise InputError(
            f"train.init: {path}: got no trained weights, wanted a run folder with {run_folder.LAST}, a "
            f"checkpoint file, or a bundle of mode=export with {run_folder.BUNDLE_WEIGHTS}"
        )
    return Origin(str(path), read_checkpoint(file).without_training())


def keep_origin(folder: Path, origin: Origin | None) -> None:
    """Copy the origin of a new run into its folder, so that the run resumes without the original file."""
    if origin is None:
        for name in (run_folder.INIT, run_folder.INIT_RECORD):
            remove(folder / name)  # left by a run that ended before its first checkpoint
        return
    record = {"from": origin.name, "weights_sha256": origin.checkpoint.digest}
    write_json(folder / run_folder.INIT_RECORD, record)
    write_checkpoint(folder / run_folder.INIT, origin.checkpoint)


def kept_origin(folder: Path) -> Origin | None:
    """Return the origin of the run in a folder; None if the run began with fresh weights."""
    path = folder / run_folder.INIT
    if not path.is_file():
        return None
    return Origin(read_json(folder / run_folder.INIT_RECORD)["from"], read_checkpoint(path))


def warn_of_seen(origin: Origin, held_out: Sequence[Case], digests: Mapping[str, str]) -> None:
    """Warn of held-out cases that the origin was trained on, if its run folder records them.

    `digests` maps the id of a case to the digest of its files.
    """
    path = Path(origin.name)
    record = (path if path.is_dir() else path.parent) / run_folder.SPLIT
    if not record.is_file():
        return
    split = read_json(record)
    files = [split["files"][case] for case in split["train"]]
    known = {value for entry in files for value in (entry.get("image"), entry.get("digest"))} - {None}
    seen = [case.id for case in held_out if known & {str(case.image), digests.get(case.id)}]
    if seen:
        log.warning(
            "train.init: %d of %d held-out cases (%s) were training cases of %s, so their "
            "scores are too good; hold out other cases with split.file or split.test",
            *(len(seen), len(held_out), listed(seen, _NAMED), origin.name),
        )


def take_weights(
    network: nn.Module, spec: NetworkSpec, origin: Origin, task: Task, folder: Path | None
) -> None:
    """Copy every tensor of the origin that fits into a fresh network; log it and record it in init.json.

    Without `folder` nothing is recorded.

    Raises:
        InputError: no tensor fits.
    """
    found = transfer(network, spec, origin.checkpoint, modalities=task.modalities, labels=task.segmented)
    fresh = [f"{name} ({why})" for name, why in found.fresh.items()]
    if not found.taken:
        raise InputError(
            f"train.init: {origin.name}: no weights fit by name and shape: {listed(fresh, _NAMED)}; set its "
            "model and op, and "
            f"use its plan with plan.file=<run folder>/{run_folder.PLAN}"
        )
    own = dict(network.named_parameters())
    kept = sum(values.numel() for name, values in own.items() if name.removeprefix("network.") in found.fresh)
    every = sum(values.numel() for values in own.values())
    log.info(
        "train.init: %d of %d tensors, %.0f %% of the parameters, are copied from %s; input channels "
        "averaged or chosen by name in: %s; initialised: %s",
        *(len(found.taken), len(found.taken) + len(fresh), 100 * (1 - kept / every), origin.name),
        *(listed(found.channels, _NAMED) or "none", listed(fresh, _NAMED) or "none"),
    )
    if folder is not None:
        _record(folder, found, 1 - kept / every)


def begun_with(folder: Path) -> dict[str, Any]:
    """Return for summary.json what a run took from other weights; empty if it began with fresh ones."""
    path = folder / run_folder.INIT_RECORD
    if not path.is_file():
        return {}
    record = read_json(path)
    counts = {key: len(record[key]) for key in ("taken", "fresh") if key in record}
    return {"init": {**{key: record[key] for key in ("from", "share") if key in record}, **counts}}


def _record(folder: Path, found: Transfer, share: float) -> None:
    path = folder / run_folder.INIT_RECORD
    before = read_json(path) if path.is_file() else {}
    facts = {"share": round(share, 4), "taken": list(found.taken), "channels": list(found.channels)}
    write_json(path, {**before, **facts, "fresh": found.fresh})
