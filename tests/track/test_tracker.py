"""Trackers over a small synthetic run: what they record is read back with their own programs."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import InputError
from app.track.facts import run_results, run_settings
from app.track.mlflow import Mlflow
from app.track.pictures import case_pictures
from app.track.tensorboard import TensorBoard
from app.track.wandb import Wandb
from tests.support.runs import HOSTILE, make_run

HISTORY = [
    {"step": 10, "train_loss": 0.9, "val_dice_mean": None},
    {"step": 20, "train_loss": 0.5, "val_dice_mean": 0.6},
]
VIEWS = ("axial", "coronal", "sagittal")
PLANES = {f"{place}/{view}" for place in ("worst", "median", "best") for view in VIEWS}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = make_run(tmp_path / "run")
    (folder / "config.yaml").write_text(
        "seed: 7\npaths: {data: /scans}\noptimizer: {lr: 0.002}\nplan: {patch: [16, 16, 16], batch: null}\n"
    )
    return folder


def test_settings_and_results_are_flat(run: Path) -> None:
    assert run_settings(run) == {"seed": 7, "plan.patch": "[16, 16, 16]", "optimizer.lr": 0.002}
    found = run_results(run)
    assert (found["mean_dice"], found["dice.one"], found["macs_per_patch"]) == (0.775, 0.8, 4.321e9)
    assert not {"seed", "fold", "task", "patch"} & set(found)


def test_pictures_are_of_the_notable_cases(run: Path) -> None:
    found = dict(case_pictures(run))
    assert set(found) == PLANES
    assert all(picture.shape[2:] == (3,) and picture.max() > 0 for picture in found.values())
    (run / "predictions" / "case_b.nii.gz").unlink()
    assert set(dict(case_pictures(run))) == {name for name in PLANES if not name.startswith("worst")}


def test_tensorboard_reads_back_one_history_of_an_interrupted_run(run: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    TensorBoard(run, resumed=False).follow(HISTORY[:1])
    again = TensorBoard(run, resumed=True)
    again.follow(HISTORY[:1])
    again.follow(HISTORY)
    again.finish()
    events = accumulator.EventAccumulator(str(run)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train_loss")] == [
        (10, pytest.approx(0.9)),
        (20, pytest.approx(0.5)),
    ]
    assert [event.step for event in events.Scalars("val_dice/mean")] == [20]
    assert events.Scalars("mean_dice")[0].value == pytest.approx(0.775)
    assert set(events.Tags()["images"]) == {f"cases/{name}" for name in PLANES}


def test_mlflow_reads_back_one_run_of_an_interrupted_one(run: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    place = {"folder": str(run.parent / "store"), "experiment": "phantom"}
    Mlflow(run, resumed=False, **place).follow(HISTORY[:1])
    again = Mlflow(run, resumed=True, **place)
    again.follow(HISTORY)
    again.finish()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run.parent / 'store' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("phantom")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    history = client.get_metric_history(found.info.run_id, "train_loss")
    assert sorted((metric.step, metric.value) for metric in history) == [(10, 0.9), (20, 0.5)]
    assert found.data.params["optimizer.lr"] == "0.002"
    assert found.data.metrics["mean_dice"] == 0.775
    assert not any(letter in name for name in found.data.metrics for letter in HOSTILE if letter in "<>$'()")
    assert {entry.path for entry in client.list_artifacts(found.info.run_id)} >= {"cases", "config.yaml"}


def test_wandb_keeps_one_run_of_an_interrupted_one_on_this_machine(run: Path) -> None:
    wandb = pytest.importorskip("wandb")
    place = {"folder": str(run.parent / "store"), "project": "phantom", "mode": "offline"}
    Wandb(run, resumed=False, **place).follow(HISTORY[:1])
    time.sleep(1.1)  # folders are named after the second
    again = Wandb(run, resumed=True, **place)
    again.follow(HISTORY)
    again.finish()
    wandb.teardown()  # which writes the files
    read = [read_wandb(path) for path in sorted((run.parent / "store").rglob("run-*.wandb"))]
    assert len(read) == 2 and read[0]["id"] == read[1]["id"]  # which makes them one
    last = read[1]
    assert (last["project"], last["name"], last["config"]["optimizer.lr"]) == ("phantom", "run", 0.002)
    curve = [(row["step"], row["train_loss"]) for row in last["rows"] if "train_loss" in row]
    assert curve == [(10, 0.9), (20, 0.5)]
    assert last["rows"][1]["val_dice_mean"] == 0.6 and "val_dice_mean" not in last["rows"][0]
    assert last["summary"]["mean_dice"] == 0.775
    shown = {key.removeprefix("cases/") for row in last["rows"] for key in row if "cases/" in key}
    assert shown == PLANES
    assert {"config.yaml", "summary.json"} <= last["files"]


def read_wandb(path: Path) -> dict[str, Any]:
    """What an offline run has told, by the messages in its file."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, Any] = {"rows": [], "config": {}, "summary": {}, "files": set()}
    for data in log_records(path.read_bytes()):
        record = Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found |= {"id": record.run.run_id, "project": record.run.project, "name": record.run.display_name}
        elif kind == "history":
            row = {item.key or item.nested_key[0]: item for item in record.history.item}
            found["rows"].append({key: json.loads(item.value_json) for key, item in row.items()})
        elif kind in ("config", "summary"):
            found[kind] |= {
                item.key or ".".join(item.nested_key): json.loads(item.value_json)
                for item in getattr(record, kind).update
            }
        elif kind == "files":
            found["files"] |= {file.path for file in record.files.files}
    return found


def log_records(data: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: blocks of 32 KiB, records in one part or several."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


def test_wandb_refuses_an_unknown_mode(run: Path) -> None:
    with pytest.raises(InputError, match=r"track\.mode"):
        Wandb(run, resumed=False, folder=str(run.parent), project="phantom", mode="somewhere")
