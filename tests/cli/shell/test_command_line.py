"""What the command line answers to a name that does not exist, to --version, --help and the tab key."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException, MissingConfigException

from app import __version__
from app.cli.config.exit_codes import in_one_line
from app.cli.config.suggest import explain, nearest
from app.cli.shell.command_line import command_line, flags_last, today
from app.cli.shell.help import group_help
from app.core.errors import InputError
from app.core.optional import LAUNCHERS, RELEASES

pytestmark = pytest.mark.e2e


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "run.py", *words])


def run(line: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        line, capture_output=True, text=True, encoding="utf-8", check=False, timeout=1800, **more
    )


@pytest.mark.parametrize("wanted", ["", "1"])
def test_a_traceback_is_printed_before_the_line_if_the_user_asks_for_it(wanted: str) -> None:
    done = run([sys.executable, "run.py", "seed=abc"], env=os.environ | {"HYDRA_FULL_ERROR": wanted})
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: seed: got 'abc'")
    assert done.stderr.startswith("Traceback") == bool(wanted) == (done.stderr.count("\n") > 1)


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        (["trian.steps=3"], ["trian.steps", "train.steps"]),
        (["op=cakes", "op.kernel=1d"], ["op.kernel", "op.kernels"]),
        (["op=cake"], ["op", "cake", "antblock", "cakes", "cakes"]),
        (["-m", "op=conv3d,cake"], ["op", "cake", "antblock", "cakes", "cakes"]),
        (["track=[tensorboard,mlflow]"], ["track", "tensorboard", "mlflow", "wandb"]),
        (["op=[conv3d,p3d]"], ["op", "p3d", "p3d", "cakes"]),
        (["sweep=smok"], ["sweep", "smok", "kernels", "smoke", "smoke"]),
        (["train"], ["train", "mode=train"]),
        (
            ["experiment=hippocampus_bst"],
            ["experiment", "hippocampus_bst", "standard", "hippocampus_best", "hippocampus_best"],
        ),
        (["qqqq=1"], ["qqqq", "--help"]),
        (["--config-dir", "nowhere"], ["nowhere"]),
        (["--help", "nothing"], ["--help", "nothing", "analyze"]),
        (["--help", "max_minutes"], ["--help", "train.max_minutes"]),
        (["--help", "trian.steps"], ["--help", "trian.steps", "train.steps"]),
        (["op=conv3d", "op.kernels=12d"], ["op.kernels", "op=conv3d", "op=cakes", "op=supernet"]),
        (["decoder_op.align=8"], ["decoder_op.align", "op@decoder_op=cakes"]),
        (["track.experiment=a"], ["track.experiment", "track=csv", "track=mlflow"]),
        (["op=null"], ["op", "null", "antblock", "cakes"]),
        (["-m", "op=conv3d,4"], ["op", "4", "antblock", "cakes"]),
        (["seed=abc"], ["seed", "abc"]),
        (["--mode", "predict"], ["--mode", "mode=predict"]),
        (["--train.steps=5"], ["--train.steps=5", "train.steps=5"]),
    ],
)
def test_a_wrong_name_is_answered_in_one_line(
    words: list[str],
    tokens: list[str],
) -> None:
    """A name given twice is there twice: among the options, and as the one that was probably meant."""
    done = call(*words)
    assert done.returncode == 1
    for token, times in Counter(tokens).items():
        found = re.findall(rf"(?<![\w.]){re.escape(token)}(?!\w)", done.stderr)
        assert len(found) >= times, (token, done.stderr)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("option", "based_on"), [("cores", "joblib"), ("slurm", "submitit_slurm")])
def test_a_launcher_that_is_not_installed_is_named_with_its_package(option: str, based_on: str) -> None:
    error = MissingConfigException("Could not load", f"hydra/launcher/{based_on}")
    with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        said = explain(error, [f"hydra/launcher={option}", "seed=0,1"], loader)
    assert f"hydra/launcher={option}" in said and f'"{LAUNCHERS[based_on]}' in said


def test_every_launcher_has_a_package() -> None:
    for path in Path("conf/hydra/launcher").glob("*.yaml"):
        (based_on,) = yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]
        assert LAUNCHERS[based_on] in RELEASES


def test_a_section_of_a_mode_is_not_proposed_as_a_choice() -> None:
    done = call("predict")
    assert "mode=predict?" in done.stderr and "settings" not in done.stderr


def test_the_nearest_comes_first() -> None:
    known = ["task.steps", "train.steps", "train.epoch_steps", "optimizer.lr"]
    assert nearest("trian.steps", known) == ["train.steps", "task.steps"]
    assert nearest("steps", known) == ["task.steps", "train.steps"]
    assert nearest("fold", known) == []


@pytest.mark.parametrize(
    ("message", "option"),
    [
        ("model.norm: got 'grup', wanted one of instance, group, batch", "group"),
        ("a.b: got 'lats', wanted last or best; see there", "last"),
        ("a.b: got 'qq', wanted last or best", None),
        ("a.b: got 3, wanted at least 4", None),
    ],
)
def test_a_wrong_value_gets_the_nearest_option(message: str, option: str | None) -> None:
    assert in_one_line(InputError(message)) == message + (f"; did you mean {option}?" if option else "")


def test_the_error_of_an_object_that_is_not_built_is_that_of_its_setting() -> None:
    error = InstantiationException("Error in call to target 'app.X'\nfull_key: model")
    error.__cause__ = InputError("model.block: got 1, wanted 2")
    assert in_one_line(error) == "model.block: got 1, wanted 2"


def test_overrides_may_stand_on_both_sides_of_a_flag() -> None:
    assert flags_last(["seed=1", "-m", "op=a,b"]) == ["seed=1", "op=a,b", "-m"]
    assert flags_last(["--config-dir", "a=b", "~x", "-m", "+y=2", "--cfg", "job"]) == [
        *("~x", "+y=2", "--config-dir", "a=b", "-m", "--cfg", "job")
    ]
    for words in ("trian.steps=1 -m seed=0,1", "-m seed=0,1 --config-dir . trian.steps=1"):
        done = call(*words.split())
        assert done.returncode == 1 and "train.steps" in done.stderr and "usage" not in done.stderr


def test_null_leaves_out_a_group_without_a_default() -> None:
    words = ["experiment=null", "decoder_op=same", "op=conv3d", "task.steps=null"]
    assert today(words) == ["~experiment", "~op@decoder_op", "op=conv3d", "task.steps=null"]
    for word in ("op=null", "op@decoder_op=3", "op=conv3d,null", "hydra/launcher=null"):
        with pytest.raises(InputError, match=word.partition("=")[0]):
            today([word])


def test_a_command_without_words_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py"])
    with command_line([]):
        assert sys.argv == ["run.py"]


def test_version_is_printed_with_those_of_the_libraries() -> None:
    done = call("--version")
    assert done.returncode == 0
    for number in (__version__, *map(version, ("torch", "monai", "hydra-core"))):
        assert number in done.stdout


def test_help_has_the_options_of_a_group_and_the_comments_of_files_and_keys(tmp_path: Path) -> None:
    for name in ("color", "settings"):
        (tmp_path / name).mkdir()
    root = "defaults:\n  - color: red\n\nseed: 0  # of chance\nlamp:\n  bulb:\n    watts: 5  # W\nfold: 1\n"
    root += "color:\n  glow: 2  # s\n"
    (tmp_path / "config.yaml").write_text(root)
    (tmp_path / "settings" / "color.yaml").write_text("color:\n  depth: 8  # bits\n")
    (tmp_path / "color" / "blue.yaml").write_text("# @package _global_\n# cold\nhue: 240\n")
    (tmp_path / "color" / "red.yaml").write_text("# warm\nhue: 0  # degrees\n")
    help_on_group = group_help(tmp_path, "color")
    options, default, of_the_default, section, of_all = help_on_group.split("\n\n", 4)
    assert options.splitlines() == ["color=blue  cold", "color=red   warm"]
    assert "red" in default and "blue" not in default
    assert of_the_default.splitlines() == ["# warm", "hue: 0  # degrees"]
    assert section.splitlines() == ["color:", "  depth: 8  # bits"]
    assert of_all.splitlines() == ["color with any option:", "", "  glow: 2  # s"]
    with pytest.raises(InputError, match="--help") as error:
        group_help(tmp_path, "color.hu")
    for token in ("color.hu'", "seed", "color.hue "):  # what was asked for, what there is, what is alike
        assert token in str(error.value)
    assert group_help(tmp_path, "seed") == "seed: 0  # of chance"
    assert group_help(tmp_path, "color.hue") == "color.hue: 0  # degrees"
    assert group_help(tmp_path, "lamp.bulb") == "lamp.bulb:\n  watts: 5  # W"
    assert group_help(tmp_path, "lamp.bulb.watts") == "lamp.bulb.watts: 5  # W"
    assert group_help(tmp_path, "color=blue") == "# @package _global_\n# cold\nhue: 240\n"


@pytest.mark.parametrize("name", [[], ["experiment"], ["op"], ["task"], ["train"], ["search"]])
def test_help_fits_100_columns(name: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), command_line(["--help", *name]):
        pass
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10
    assert max(len(line) for line in lines) <= 100


def test_help_says_what_each_option_is_and_the_front_page_has_every_mode() -> None:
    conf = Path("conf")
    for group in (
        path for path in conf.iterdir() if path.is_dir() and path.name not in ("hydra", "settings")
    ):
        for file in group.glob("*.yaml"):
            line = group_help(conf, group.name).partition(f"{group.name}={file.stem} ")[2].partition("\n")[0]
            assert line.strip() and not line.strip().startswith("python run.py"), file
    page = (conf / "hydra/help/app.yaml").read_text(encoding="utf-8")
    for mode in {path.stem for path in (conf / "mode").glob("*.yaml")} - {"train"}:
        assert f"mode={mode} " in page + " ", mode


@pytest.mark.skipif(shutil.which("bash") is None, reason="completes in bash")
def test_the_tab_key_completes_names() -> None:
    script = """
        eval "$(python run.py --shell-completion install=bash)"
        COMP_LINE="python run.py op=c" COMP_WORDS=(python run.py op=c) COMP_CWORD=2
        COMP_POINT=${#COMP_LINE}
        hydra_bash_completion
        echo "${COMPREPLY[@]}"
    """
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert run(["bash", "-c", script], env=here).stdout.split() == ["op=cakes", "op=conv2d", "op=conv3d"]
