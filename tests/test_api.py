"""The Python door: it does what the command line does, and leaves the process as it was."""

import logging
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import app
from app import RunFolder, Segmenter, run
from app.core.errors import InputError
from tests.support.cli import HANG, ROOT
from tests.support.config import TINY
from tests.support.volumes import MakeTask

pytestmark = pytest.mark.e2e


def settings(data: Path, place: Path) -> list[str]:
    return [*TINY, f"task.folder={data}", f"paths.cache={place / 'cache'}", f"paths.run={place / 'run'}"]


def state_of_the_process() -> list[object]:
    handlers = list(logging.getLogger().handlers)
    return [
        *(Path.cwd(), list(sys.argv), handlers, logging.getLogger().level, torch.get_num_threads()),
        *(GlobalHydra.instance().is_initialized(), HydraConfig.initialized(), torch.get_rng_state().tolist()),
    ]


def test_two_runs_in_one_process_give_what_two_processes_give(make_task: MakeTask, tmp_path: Path) -> None:
    data, before = make_task(), state_of_the_process()
    first = run(*settings(data, tmp_path / "a"))
    second = run(*settings(data, tmp_path / "b"), "op=cakes")
    assert state_of_the_process() == before
    for name, ours, more in (("c", first, []), ("d", second, ["op=cakes"])):
        line = [sys.executable, str(ROOT / "run.py"), *settings(data, tmp_path / name), *more]
        done = subprocess.run(
            line, capture_output=True, text=True, encoding="utf-8", timeout=HANG, check=False
        )
        assert done.returncode == 0, done.stderr
        theirs = RunFolder(tmp_path / name / "run")
        assert ours.summary["mean_dice"] == theirs.summary["mean_dice"]
        assert ours.cases == theirs.cases and len(ours.cases) > 1
        weights = [torch.load(each.checkpoint, weights_only=True)["weights"] for each in (ours, theirs)]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_run_folder_gives_what_its_run_wrote(make_task: MakeTask, tmp_path: Path) -> None:
    trained = run(*settings(make_task(), tmp_path), "op=conv3d")
    assert trained.path == tmp_path / "run" and trained.checkpoint.name == "last.pt"
    case, label_map = next(iter(trained.predictions.items()))
    scan = tmp_path / "Task90_Blobs" / "imagesTr" / f"{case}.nii.gz"
    labels = trained.segmenter()(scan)
    np.testing.assert_array_equal(labels, np.asarray(nib.load(label_map).dataobj))
    assert isinstance(trained.segmenter(), Segmenter)
    with pytest.raises(InputError, match=r"layout\.yaml"):
        _ = trained.layout

    words = (f"predict.model={trained.path}", f"predict.input={scan}", f"predict.output={tmp_path / 'out'}")
    predicted = run("mode=predict", *words)
    np.testing.assert_array_equal(np.asarray(nib.load(predicted.predictions[case]).dataobj), labels)
    references = f"evaluate.labels={tmp_path / 'Task90_Blobs' / 'labelsTr'}"
    words = (f"evaluate.predictions={tmp_path / 'out'}", references, f"evaluate.output={tmp_path / 'scores'}")
    words = (*words, "evaluate.missing=left_out")
    scored = run("mode=evaluate", *words, "task=decathlon", f"task.folder={tmp_path / 'Task90_Blobs'}")
    theirs = [row["dice"] for row in trained.cases if row["case"] == case]
    assert [row["dice"] for row in scored.cases] == theirs


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        (("trian.steps=3",), ("trian.steps", "train.steps")),
        (("train.steps=abc",), ("train.steps",)),
        (("mode=tune",), ("mode=tune",)),
        (("sweep=smoke",), ("sweep=smoke", "command line")),
        (("fold=all",), ("fold=all", "command line")),
        (("task=decathlon", "task.folder=${nowhere}/x"), ("nowhere",)),
    ],
)
def test_errors_are_those_of_the_command_line_and_leave_nothing(
    words: tuple[str, ...], tokens: tuple[str, ...], tmp_path: Path
) -> None:
    before = state_of_the_process()
    with pytest.raises(InputError) as error:
        run(*words, f"paths.run={tmp_path / 'run'}", f"paths.data={tmp_path}", f"paths.cache={tmp_path}")
    assert state_of_the_process() == before
    for token in tokens:
        assert token in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("word", "shown"), [("log=quiet", 0), ("log=normal", 1), ("log=verbose", 2)])
def test_as_much_is_shown_as_log_says(word: str, shown: int, capsys: pytest.CaptureFixture[str]) -> None:
    found, ours = logging.getLogger("app.core"), logging.getLogger("app")
    levels = (found.level, ours.level, logging.getLogger("app.core.progress").level)

    def mode(_cfg: object) -> Path:
        found.debug("a reason")
        found.info("a result")
        return Path()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cli.shell.main.run_mode", mode)
        run(word)
    assert capsys.readouterr().out.count("a re") == shown
    assert levels == (found.level, ours.level, logging.getLogger("app.core.progress").level)


def test_importing_the_package_imports_nothing_slow() -> None:
    code = "import app, sys; print(app.NAME, not {'torch', 'hydra', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [app.NAME, "True"]
    assert set(app.__all__) >= {"run", "Segmenter"}
    with pytest.raises(AttributeError):
        _ = app.nothing  # type: ignore[attr-defined]
