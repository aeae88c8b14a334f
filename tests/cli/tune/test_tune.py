"""Tuning with Optuna: spaces, pruning, and a study that is continued and whose best trial runs again."""

import json
import re
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from app.core.errors import InputError
from tests.support.cli import call_here, no_room
from tests.support.config import TINY, composed
from tests.support.volumes import MakeTask

optuna = pytest.importorskip("optuna")

from app.cli.tune.experiment import write_experiment  # noqa: E402
from app.cli.tune.pruning import Pruning  # noqa: E402
from app.cli.tune.space import distributions  # noqa: E402
from app.cli.tune.study import ask, best, keeping, left_over, open_study, report_trial  # noqa: E402

pytestmark = pytest.mark.e2e

BOTH = {"mean_dice": "maximize", "macs_per_patch": "minimize"}


def test_space_is_lists_and_ranges_in_sections() -> None:
    found = distributions(
        {"op": ["p3d", "conv3d"], "plan": {"batch": {"low": 2, "high": 6, "step": 2}, "spacing": [1, 2]}}
        | {"optimizer": {"lr": {"low": 0.001, "high": 0.1, "log": True}}}
    )
    assert found == {
        "op": optuna.distributions.CategoricalDistribution(("p3d", "conv3d")),
        "plan.batch": optuna.distributions.IntDistribution(2, 6, step=2),
        "plan.spacing": optuna.distributions.CategoricalDistribution((1, 2)),
        "optimizer.lr": optuna.distributions.FloatDistribution(0.001, 0.1, log=True),
    }


@pytest.mark.parametrize(
    ("space", "tokens"),
    [
        ({}, [r"tune\.space(?!\.)"]),
        ({"seed": 3}, [r"tune\.space\.seed\b", r"\b3\b"]),
        ({"optimizer": {"lr": {"low": 1, "high": 0}}}, [r"tune\.space\.optimizer\.lr\b", r"\b1\b", r"\b0\b"]),
        ({"optimizer": {"lr": {"low": 1, "hihg": 0}}}, [r"tune\.space\.optimizer\.lr\b", r"\bhihg\b"]),
    ],
)
def test_wrong_space_is_one_line_with_key_and_value(space: dict[str, object], tokens: list[str]) -> None:
    with pytest.raises(InputError) as error:
        distributions(space)
    for token in tokens:
        assert re.search(token, str(error.value))
    assert "\n" not in str(error.value)


def test_trial_below_the_median_is_asked_to_stop(tmp_path: Path) -> None:
    study = open_study(tmp_path, {"mean_dice": "maximize"})
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0)
    for number, dice in enumerate((0.8, 0.6, 0.3, 0.9)):
        run = tmp_path / str(number)
        run.mkdir()
        (run / "metrics.csv").write_text(f"step,val_dice_mean\n10,{dice}\n")
        (run / "summary.json").write_text(json.dumps({"mean_dice": dice}))
        trial = study.ask()
        pruning = Pruning({run: trial})
        pruning.look()
        pruning.look()
        report_trial(study, trial, run, failed=False, pruned=run in pruning.pruned)
    assert [(tmp_path / str(number) / "stop").exists() for number in range(4)] == [False, False, True, False]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "COMPLETE"]


def test_best_of_two_objectives_are_those_that_no_other_trial_beats(tmp_path: Path) -> None:
    study = open_study(tmp_path, BOTH)
    for number, (dice, macs) in enumerate(((0.9, 50), (0.8, 20), (0.7, 30), (0.6, 10))):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "summary.json").write_text(
            json.dumps({"mean_dice": dice, "macs_per_patch": macs})
        )
        report_trial(study, study.ask(), tmp_path / str(number), failed=False, pruned=False)
    assert [trial.number for trial in best(study)] == [3, 1, 0]
    with pytest.raises(InputError, match=r"tune\.objectives") as error:
        open_study(tmp_path, {"mean_dice": "maximize"})
    for token in (
        "study.db",
        "macs_per_patch",
    ):  # where the other objectives are, and the one that is missing
        assert token in str(error.value)


def test_a_study_keeps_its_values_to_choose_from(tmp_path: Path) -> None:
    study = open_study(tmp_path, BOTH)
    ask(study, distributions({"op": ["p3d", "conv3d"]}))
    with pytest.raises(InputError, match=r"tune\.space\b") as error:
        ask(study, distributions({"op": ["p3d", "cakes"]}))
    assert "paths.sweep" in str(error.value)


def test_unknown_objective_names_the_known(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"mean_dice": 0.5, "op": "p3d"}))
    study = open_study(tmp_path, {"dice": "maximize"})
    with pytest.raises(InputError, match=r"tune\.objectives") as error:
        report_trial(study, study.ask(), tmp_path, failed=False, pruned=False)
    for token in (r"\bdice\b", r"\bmean_dice\b", re.escape(str(tmp_path))):
        assert re.search(token, str(error.value))
    assert not re.search(r"\bop\b", str(error.value))  # which is no number


def test_an_undefined_figure_is_a_failed_trial(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"mean_dice": None, "macs_per_patch": 3}))
    study = open_study(tmp_path, BOTH)
    for _ in range(2):
        report_trial(study, study.ask().number, tmp_path, failed=False, pruned=False)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL"]


def test_a_study_without_answers_begins_again_with_corrected_options(tmp_path: Path) -> None:
    wrong, right = (distributions({"loss": values}) for values in (["nosuch"], ["dice_ce", "dice_focal"]))
    ask(open_study(tmp_path, {"dice": "maximize"}, wrong), wrong)
    study = open_study(tmp_path, BOTH, right)
    assert study.trials == []
    ask(study, right)
    assert len(open_study(tmp_path, BOTH, right).trials) == 1  # that an interruption left: it is resumed
    study.tell(0, state=optuna.trial.TrialState.FAIL)
    assert open_study(tmp_path, BOTH, right).trials == []  # nothing succeeded
    study.tell(ask(study, right).number, [0.5, 1.0])
    assert len(open_study(tmp_path, BOTH, wrong).trials) == 1  # an answer is never thrown away


@pytest.mark.parametrize("name", ["a%20b", "x?y#z", "größe (1)"])
def test_a_study_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    open_study(tmp_path / name, BOTH).ask()
    assert [path.name for path in (tmp_path / name).iterdir()] == ["study.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(open_study(tmp_path / name, BOTH).trials) == 1


def test_study_is_continued_and_its_best_trial_runs_again(
    tmp_path: Path, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task()
    place = tmp_path / "tune"
    tune = ("mode=tune", "tune=pareto", "~tune.space.plan", f"paths.sweep={place}")
    call(tmp_path, *tune, "tune.trials=1", monkeypatch=monkeypatch)
    study = open_study(place, BOTH)
    study.ask({"op": optuna.distributions.CategoricalDistribution(("conv3d", "p3d", "cakes"))})  # then killed
    assert [trial.number for trial in left_over(study)] == [1]
    written = (place / "trial-000" / "summary.json").stat().st_mtime_ns
    call(tmp_path, *tune, "tune.trials=3", monkeypatch=monkeypatch)
    assert (place / "trial-000" / "summary.json").stat().st_mtime_ns == written
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3
    (first, *_) = best(study)
    name = f"trial-{first.number:03d}"
    again = ("--config-dir", str(place), f"experiment={name}", f"paths.run={tmp_path / 'again'}")
    call(tmp_path, *again, monkeypatch=monkeypatch)
    summary = json.loads((tmp_path / "again" / "summary.json").read_text(encoding="utf-8"))
    assert [summary[figure] for figure in BOTH] == first.values


def test_a_trial_of_a_preset_is_written_with_it_and_overrides_it(tmp_path: Path) -> None:
    trial = ("experiment=hippocampus_fast", "op=p3d", "optimizer.lr=0.005", "train.epoch_steps=50")
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        write_experiment(tmp_path, "trial-007", trial, "mean_dice 0.9")
    again = composed("experiment=trial-007", f"hydra.searchpath=[file://{tmp_path}]")
    assert again == composed(*trial)
    preset = composed("experiment=hippocampus_fast")
    assert (again.train.epoch_steps, again.op) == (50, composed("op=p3d").op)  # the trial's
    assert again.train.epoch_steps != preset.train.epoch_steps and again.op != preset.op
    assert again.train.steps == preset.train.steps != composed().train.steps  # the preset's own
    assert again.model == preset.model and again.augment == preset.augment


def test_a_decoder_and_removed_keys_of_a_trial_are_kept(tmp_path: Path) -> None:
    trial = ("op=conv3d", "op@decoder_op=cakes", "decoder_op.align=8")
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        path = write_experiment(tmp_path, "trial-001", (*trial, "~train.clip_norm=null"), "mean_dice 0.9")
    again = composed("experiment=trial-001", f"hydra.searchpath=[file://{tmp_path}]", "~train.clip_norm")
    assert again == composed(*trial, "~train.clip_norm") and again.decoder_op.align == 8
    text = path.read_text(encoding="utf-8")
    assert "experiment=trial-001 '~train.clip_norm'" in text and text.count("~") == 1


def call(folder: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run run.py; with a written experiment the settings come from its file."""
    task = f"task.folder={folder / 'Task90_Blobs'}"
    given = () if any(word.startswith("experiment=") for word in arguments) else (*TINY, task)
    words = (*arguments, *given, f"paths.cache={folder / 'cache'}", "threads=1")
    assert not call_here(*words, monkeypatch=monkeypatch)


def test_a_study_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    space = {"lr": optuna.distributions.FloatDistribution(0.1, 1.0)}
    with keeping(tmp_path):
        study = open_study(tmp_path, {"mean_dice": "maximize"}, space)
    with no_room(), pytest.raises(InputError, match=r"study\.db"), keeping(tmp_path):
        ask(study, space)
    with keeping(tmp_path):
        assert ask(study, space).number == 0


def test_a_trial_holds_out_one_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("mode=tune", "fold=all", f"paths.sweep={tmp_path / 'tune'}")
    assert call_here(*words, monkeypatch=monkeypatch) == 1
    assert capfd.readouterr().err.startswith("error: fold=all: ") and not (tmp_path / "tune").exists()
