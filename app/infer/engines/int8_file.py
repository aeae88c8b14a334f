"""The files of an 8-bit network in its run folder: the graph, and the Dice lost on held-out cases."""

from pathlib import Path

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import read_json
from app.infer.engines.engine import Member

LARGEST_LOSS = 0.002  # mean Dice on held-out cases; below the standard error of a comparison of 130 cases


def int8_paths(member: Member) -> tuple[Path, Path]:
    """Return the paths of the graph and of its record, which are named by a digest of the weights."""
    folder, name = member.run / run_folder.EXPORT, member.checkpoint.digest[:16]
    return folder / f"{name}-int8.xml", folder / f"{name}-int8.json"


def accepted_int8(member: Member) -> Path:
    """Return the path of the graph if its loss of Dice was measured and is small enough.

    Raises:
        InputError: there is no 8-bit network for these weights, or it loses too much Dice.
    """
    graph, record = int8_paths(member)
    if not record.is_file():
        raise InputError(
            f"predict.engine=openvino_int8: {member.run} has no 8-bit network for these weights; "
            f"make it with mode=export export.format=int8 export.model={member.run}"
        )
    lost = float(read_json(record)["dice_lost"])
    if lost > LARGEST_LOSS or not graph.is_file():
        raise InputError(
            f"predict.engine=openvino_int8: {member.run}: 8 bits lose {lost:.4f} Dice on held-out cases, "
            f"{LARGEST_LOSS} is the largest loss accepted"
        )
    return graph
