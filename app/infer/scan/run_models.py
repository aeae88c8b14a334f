"""Reading the trained networks of one or several run folders, and the settings of their evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import read_yaml
from app.core.renamed import renamed_config
from app.core.sweep import read_record, read_sweep
from app.infer.engines.engine import Member
from app.infer.window.sliding import SlidingSettings
from app.models.checkpoint import Checkpoint, read_checkpoint

_WEIGHTS = {"last": run_folder.LAST, "best": run_folder.BEST}


def list_runs(folders: Sequence[Path]) -> list[Path]:
    """Return the run folders; a folder that holds the folds of one configuration stands for all its runs.

    Raises:
        InputError: runs in such a folder are unfinished, or belong to several configurations.
    """
    return [run for folder in folders for run in _runs_of(folder)]


def read_members(runs: Sequence[Path], weights: str) -> list[Member]:
    """Return the networks of the runs; `weights` is last or best.

    Raises:
        InputError: there is no run, a checkpoint is missing or damaged, or networks cannot be averaged.
    """
    if weights not in _WEIGHTS:
        raise InputError(f"weights: got {weights!r}, wanted last or best")
    if not runs:
        raise InputError("model: got no run folder, wanted at least one")
    for run in runs:
        if not (run / run_folder.LAST).is_file() and not (run / run_folder.BEST).is_file():
            raise InputError(
                f"model: {run}: wanted a run folder with {run_folder.LAST}; a training makes one, "
                "for example python run.py"
            )
    for run in runs if weights == "best" else ():
        if not (run / run_folder.BEST).is_file() and (run / run_folder.LAST).is_file():
            raise InputError(
                f"weights: {run} has no best.pt, as it held out no case to choose it on; use weights last"
            )
    members = [Member(run, read_checkpoint(run / _WEIGHTS[weights])) for run in runs]
    for member in members[1:]:
        _refuse_differences(members[0], member)
    return members


def flipped_axes(members: Sequence[Member]) -> tuple[int, ...]:
    """Return the axes of (D, H, W) that the trainings of all networks flipped.

    Raises:
        InputError: neither a checkpoint nor the run's configuration records the flipped axes.
    """
    flipped = [_flipped(member) for member in members]
    return tuple(axis for axis in flipped[0] if all(axis in axes for axes in flipped))


def stored_sliding(members: Sequence[Member]) -> SlidingSettings:
    """Return the settings of sliding windows of the first run's evaluation.

    Axes that some run did not flip in training are not mirrored.

    Raises:
        InputError: a run has no configuration, or one without these settings.
    """
    values, flipped = _stored(members[0].run, "sliding"), flipped_axes(members)
    try:
        wanted = flipped if values["mirror_axes"] is None else values["mirror_axes"]
        axes = tuple(axis for axis in wanted if axis in flipped)
        return SlidingSettings(**{**values, "mirror_axes": axes})
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{members[0].run}: no section sliding as this version writes it ({error!r})"
        ) from None


def _flipped(member: Member) -> tuple[int, ...]:
    """Return the axes that training flipped; checkpoints of older versions have them in config.yaml only."""
    recorded = member.checkpoint.flip_axes
    return tuple(_stored(member.run, "augment", "flip_axes")) if recorded is None else recorded


def _runs_of(folder: Path) -> list[Path]:
    sweep = None if (folder / run_folder.LAST).is_file() else read_sweep(folder)
    if sweep is None:
        return [folder]
    groups = dict.fromkeys(entry.group for entry in sweep.entries)
    if len(groups) > 1:
        raise InputError(
            f"model: {folder}: holds {', '.join(groups)}; give the run folders of one, as a list"
        )
    records = {entry.name: read_record(folder / entry.name) for entry in sweep.entries}
    unfinished = [name for name, record in records.items() if record is None or record.state != "done"]
    if unfinished:
        raise InputError(
            f"model: {folder}: not finished: {', '.join(unfinished)}; run their command again, "
            "or give the run folders of the others as a list"
        )
    return [folder / name for name in records]


def _stored(run: Path, *keys: str) -> Any:
    """Return the value of nested keys in a run's configuration.

    Raises:
        InputError: the configuration or a key is missing.
    """
    path = run / run_folder.CONFIG
    stored = read_yaml(path)
    try:
        value = renamed_config(stored)
        for key in keys:
            value = value[key]
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: has no {'.'.join(keys)} ({error!r})") from None
    return value


def _refuse_differences(first: Member, other: Member) -> None:
    ours, theirs = _shared_facts(first.checkpoint), _shared_facts(other.checkpoint)
    differing = [name for name in ours if ours[name] != theirs[name]]
    if differing:
        name = differing[0]
        raise InputError(
            f"model: {other.run}: got {name} {theirs[name]}, wanted {ours[name]} as {first.run}; "
            "only networks with equal preparation can be averaged"
        )


def _shared_facts(checkpoint: Checkpoint) -> dict[str, object]:
    plan = checkpoint.plan
    return {
        "labels": list(checkpoint.labels),
        "label values": list(checkpoint.label_values[: len(checkpoint.labels)]),
        "modalities": list(checkpoint.modalities),
        "spacing": list(plan.spacing),
        "patch": list(plan.patch),
        "normalisation": plan.normalisation,
        "labels that change places in mirror images": list(plan.swapped),
    }
