"""Which jobs a sweep has, what they are called, and what they take from one another."""

import re
from multiprocessing import current_process

import pytest
from omegaconf import OmegaConf

from app.cli.sweep import pinning
from app.cli.sweep.jobs import plan_jobs, sweep_name, with_all_folds, with_references
from app.cli.sweep.pinning import PinCores, cores_per_job, first_cores, share
from app.core.errors import InputError

LINES = {
    "dense": "op=conv3d seed=0,1",
    "search": "mode=search fold=0,1",
    "found": "op=cakes op.layout=@search/layout.yaml fold=0,1",
}


def test_lines_are_multiplied_out_in_order() -> None:
    jobs = plan_jobs(LINES, [])
    assert [job.name for job in jobs] == [
        *("dense+seed-0", "dense+seed-1", "search+fold-0", "search+fold-1", "found+fold-0", "found+fold-1"),
    ]
    assert [job.group for job in jobs] == ["dense", "dense", "search", "search", "found", "found"]
    assert jobs[1].overrides == ("op=conv3d", "seed=1")


def test_command_line_alone_is_a_sweep() -> None:
    jobs = plan_jobs(
        {"": ""}, ["op=conv3d,p3d", "seed=range(0,2)", "optimizer.lr=0.01", "plan.patch=[16,16,16]"]
    )
    assert [job.name for job in jobs] == [
        *("op-conv3d+seed-0", "op-conv3d+seed-1", "op-p3d+seed-0", "op-p3d+seed-1"),
    ]
    assert [job.group for job in jobs] == ["op-conv3d", "op-conv3d", "op-p3d", "op-p3d"]
    assert jobs[0].overrides == ("op=conv3d", "seed=0", "optimizer.lr=0.01", "plan.patch=[16,16,16]")


def test_command_line_wins_over_lines() -> None:
    jobs = plan_jobs({"dense": LINES["dense"]}, ["seed=5", "paths.data=/scans"])
    assert [(job.name, job.overrides) for job in jobs] == [
        ("dense", ("op=conv3d", "seed=5", "paths.data=/scans"))
    ]
    assert jobs[0].described == ("op=conv3d", "seed=5")


def test_reference_is_to_the_job_of_the_same_fold() -> None:
    jobs = plan_jobs(LINES, [])
    assert jobs[5].target("search", jobs).name == "search+fold-1"
    assert jobs[5].resolved({"search": "/there"}) == (
        *("op=cakes", "op.layout=/there/layout.yaml", "fold=1"),
    )


def test_a_choice_of_jobs_brings_those_they_refer_to() -> None:
    jobs = plan_jobs(LINES | {"more": "op=cakes op.layout=@found/layout.yaml fold=1"}, [])
    found = with_references([job for job in jobs if job.name == "more"], jobs)
    assert [job.name for job in found] == ["search+fold-1", "found+fold-1", "more"]
    assert with_references(jobs, jobs) == jobs


def test_names_need_no_quotes() -> None:
    long = "runs/phantom/a_folder_with_a_rather_long_name/layout.yaml"
    (first, second, _) = plan_jobs({"": ""}, [f"op.layout={long},{long}2,'a b/c'"])
    assert first.name != second.name
    for job in plan_jobs({"": ""}, ["plan.patch=[16,16,16],[32,32,32]"]):
        assert job.name in ("patch-16_16_16", "patch-32_32_32")
    assert all(set(job.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.+") for job in (first, second))


@pytest.mark.parametrize(
    ("lines", "command", "tokens"),
    [
        ({"a": "op=@b/layout.yaml", "b": "op=p3d"}, [], [r"sweep\.jobs", r"\ba\b", "@b"]),
        (
            {"b": "seed=0,1", "a": "op=@b/layout.yaml"},
            [],
            [r"sweep\.jobs", r"\ba\b", "@b", r"b\+seed-0", r"b\+seed-1"],
        ),
        ({"": ""}, ["seed=0,0"], [r"sweep\.jobs", "seed-0", r"\b2\b"]),
        ({"a": "op conv3d"}, [], [r"sweep\.jobs\.a\b", r"\bop\b"]),
        ({"": ""}, ["optimizer.lr=interval(0,1)"], [r"optimizer\.lr=interval\(0,1\)", "mode=tune"]),
    ],
)
def test_a_wrong_sweep_is_one_line_with_the_jobs_it_concerns(
    lines: dict[str, str], command: list[str], tokens: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        plan_jobs(lines, command)
    for token in tokens:
        assert re.search(token, str(error.value))
    assert "\n" not in str(error.value)


def test_a_sweep_is_named_from_its_keys_or_its_file() -> None:
    assert sweep_name({"": ""}, ["op=conv3d,p3d", "seed=0,1", "paths.data=/scans"], None) == "op+seed"
    assert sweep_name(LINES, ["task=hippocampus", "hydra/launcher=cores"], "kernels") == "kernels"
    for word in ("task=hippocampus", "seed=1", "fold=0"):
        assert sweep_name({"": ""}, [word], None).startswith("run")
    ten, twenty = (sweep_name(LINES, [f"train.steps={steps}"], "kernels") for steps in (10, 20))
    assert ten.startswith("kernels-")
    assert ten != twenty


def test_workers_share_the_cores_out() -> None:
    cores = [0, 1, 2, 3, 6]
    assert [list(share(cores, worker, 2)) for worker in (0, 1, 2)] == [[0, 1], [2, 3], [0, 1]]


def test_a_worker_keeps_its_share_from_job_to_job(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [0, 1, 2, 3, 6, 7, 8, 9]
    monkeypatch.setattr(pinning, "usable_cores", lambda: tuple(held))
    monkeypatch.setattr(pinning, "keep_to_cores", lambda cores: held.__setitem__(slice(None), cores))
    monkeypatch.setattr(current_process(), "name", "LokyProcess-2")
    first_cores.cache_clear()
    for _ in range(3):
        PinCores().on_job_start(OmegaConf.create({"hydra": {"launcher": {"n_jobs": 2}}}))
        assert held == [6, 7, 8, 9]


@pytest.mark.parametrize(
    ("launcher", "cores"),
    [({}, 8), ({"n_jobs": 1}, 8), ({"n_jobs": 3}, 2), ({"n_jobs": 9}, 1), ({"n_jobs": -1}, 1)],
)
def test_the_cores_of_a_job_are_its_share(
    launcher: dict[str, int], cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinning, "usable_cores", lambda: tuple(range(8)))
    assert cores_per_job(OmegaConf.create({"hydra": {"launcher": launcher}})) == cores


def test_all_folds_are_written_out() -> None:
    assert with_all_folds("fold=all", range(3)) == "fold=0,1,2"
    assert with_all_folds("op=cakes fold=all seed=0,1", range(2)) == "op=cakes fold=0,1 seed=0,1"
    assert with_all_folds("manifold=all fold=allow", range(2)) == "manifold=all fold=allow"
    (first, second) = plan_jobs({"": ""}, [with_all_folds("fold=all", range(2))])
    assert (first.name, second.name, first.group) == ("fold-0", "fold-1", "run")
