"""Paths with any character, as a user types them."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from app.cli.config.paths import ONE, SEVERAL, readable, readable_word, shell_word
from app.cli.config.settings import literal, read_settings
from app.cli.sweep.jobs import plan_jobs
from app.core.nested import dotted
from tests.support.config import composed

NAMES = [
    *("größe", "a=b", "par(en)", "br[ack]", "[list]", "{braces}", "a#b", "q'uote", 'dou"ble', "腫瘍"),
    *("two  words", "a,b", "50%20", "x?y*", "${now}", "me@home", "~", "123", "true", "null", "end\\"),
    *("tab\there", "a: b"),
]


Compose = Callable[..., DictConfig]


@pytest.fixture
def compose_paths(tmp_path_factory: pytest.TempPathFactory) -> Compose:
    """A function that composes the options of these tests alone: a fifth of the time of all options."""
    folder = tmp_path_factory.mktemp("conf")
    sections = "task: {folder: null}\npredict: {input: null}\npaths: {run: null, data: data, cache: null}\n"
    (folder / "config.yaml").write_text(sections, encoding="utf-8")

    def compose_here(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(folder), version_base="1.3"):
            return compose("config", list(overrides))

    return compose_here


@pytest.mark.parametrize("name", NAMES)
def test_what_exists_is_that_path(tmp_path: Path, name: str, compose_paths: Compose) -> None:
    path = f"{tmp_path}/{name}"
    Path(path).mkdir()
    for several in (False, True):
        words = readable([f"task.folder={path}", f"predict.input={path}"], several=several)
        cfg = compose_paths(*words)
        assert (cfg.task.folder, cfg.predict.input) == (path, path)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("null", "${now}", "~", 'dou"ble')])
def test_a_path_to_be_made_is_that_path(name: str, compose_paths: Compose) -> None:
    assert compose_paths(*readable([f"paths.run=new/{name}"])).paths.run == f"new/{name}"


def test_paths_in_a_list_may_contain_commas(tmp_path: Path, compose_paths: Compose) -> None:
    names = ["a, b", "a", "c [1],d"]
    paths = [f"{tmp_path}/{name}" for name in names]
    for path in paths:
        Path(path).mkdir()
    cfg = compose_paths(
        *readable([f"predict.input=[{','.join(paths)}]", f"task.folder=[{', '.join(paths)}]"])
    )
    assert (list(cfg.predict.input), list(cfg.task.folder)) == (paths, paths)
    jobs = plan_jobs({"": ""}, readable([f"train.init={','.join(paths)}"], several=True))
    assert len(jobs) == len(paths)


def test_lists_sweeps_and_interpolations_keep_their_meaning(tmp_path: Path, compose_paths: Compose) -> None:
    for name in ("a b", "ü"):
        (tmp_path / name).mkdir()
    one, other = f"{tmp_path}/a b", f"{tmp_path}/ü"
    assert compose_paths(*readable([f"predict.input=[{one},{other}]"])).predict.input == [one, other]
    assert readable_word("predict.input=[a,b]") == "predict.input=[a,b]"
    assert readable_word("train.resume=null") == "train.resume=null"
    cfg = compose_paths("paths.data=place", *readable(["paths.cache=${paths.data}/größe"]))
    assert cfg.paths.cache == "place/größe"
    jobs = plan_jobs({"": ""}, readable([f"task.folder={one},{other}"], several=True))
    assert len(jobs) == 2 and jobs[1].overrides == (f"task.folder='{other}'",)
    assert readable(["plan.patch=[16,", "16,", "16]", "op=p3d"]) == ["plan.patch=[16, 16, 16]", "op=p3d"]
    assert readable(["plan.patch=[16,", "16"]) == ["plan.patch=[16,", "16"]


def test_a_reference_to_a_job_in_an_odd_folder_is_read() -> None:
    lines = {"mixed": "op=p3d", "trained": "op=cakes op.layout=@mixed/layout.yaml paths.data=me@home"}
    trained = plan_jobs(lines, [])[1]
    words = trained.resolved({"mixed": "/a b/größe/mixed"})
    cfg = composed(*words)
    assert (cfg.op.layout, cfg.paths.data) == ("/a b/größe/mixed/layout.yaml", "me@home")


PATH_OPTION = re.compile(r"(\w+): *(?:null|\S+[/.]\S+|data) +# *(.*\b(?:file|folder|checkpoint|scan)s?\b)")
NOT_PATHS = {"predict.memory_gb", "predict.channels", "sweep.name"}  # their comments only mention files


def test_every_option_that_takes_a_path_is_known() -> None:
    """Found by their comments in conf/, which say file, folder, checkpoint or scan."""
    found = set()
    for path in Path("conf").glob("*/*.yaml"):
        section = path.stem if path.parent.name == "settings" else path.parent.name
        for line in path.read_text(encoding="utf-8").splitlines():
            key = PATH_OPTION.match(line)
            if key and section not in ("experiment", "sweep"):
                found.add(f"{section}.{key[1]}")
    assert len(found) > 30 and found - NOT_PATHS <= ONE | SEVERAL


def test_the_options_exist_and_advice_can_be_pasted() -> None:
    values = OmegaConf.to_container(
        composed("op=cakes", "op@decoder_op=cakes", "track=mlflow"), resolve=False
    )
    known = {name for name, _ in dotted(values)}  # type: ignore[arg-type]
    assert not (ONE | SEVERAL) - known
    assert shlex.split(shell_word("train.resume", "a b/ü")) == ["train.resume=a b/ü"]
    assert shell_word("train.resume", "runs/x") == "train.resume=runs/x"


def test_a_path_in_a_folder_with_a_reference_in_its_name_is_that_path(
    tmp_path: Path, compose_paths: Compose
) -> None:
    (tmp_path / "a${b}").mkdir()
    path = f"{tmp_path}/a${{b}}/run"
    assert compose_paths(*readable([f"paths.run={path}"])).paths.run == path
    (word,) = readable(["paths.run=${paths.data}/run"])
    assert compose_paths(word, "paths.data=here").paths.run == "here/run"


@dataclass(frozen=True)
class _Place:
    folder: str


@pytest.mark.parametrize("name", [*NAMES, "a${b}", "\\${b}", "\\\\${b}${c}", "$", "${"])
def test_a_value_stays_what_it_is_in_settings_and_stored_configurations(name: str) -> None:
    assert read_settings(_Place, {"folder": name}, "place").folder == name
    stored = OmegaConf.to_yaml({"place": literal({"folder": [name]})})
    assert OmegaConf.create(stored).place.folder[0] == name
