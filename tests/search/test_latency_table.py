"""The table of measured kernels: kept, reused, added to, and never taken to another machine."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from app.cli.config import search_costs
from app.core.errors import InputError
from app.core.kernel import Kernel
from app.core.layout import Layout
from app.models.model import Shape
from app.models.network import design
from app.models.unet import UNetModel
from app.operators.plain import Conv3d
from app.operators.supernet import SuperNet
from app.search import latency_table as latency
from app.search.costs import Site
from app.search.latency_table import LatencyCost, latency_costs
from app.search.pricing import outline_of
from tests.support.config import PLAN, composed
from tests.support.planted import convolutions

LINE, CUBE = Kernel((3, 1, 1)), Kernel((3, 3, 3))
CPU = torch.device("cpu")
MACHINE = {"processor": "a", "threads": 1, "device": "cpu"}
CONV = convolutions()[1]
SITES = [Site(CONV, (LINE, CUBE))]


def test_what_is_measured_is_kept_and_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    first = latency_costs(path, SITES, align=8, machine=MACHINE, device=CPU)
    written = path.read_bytes()
    assert latency_costs(path, SITES, align=8, machine=MACHINE, device=CPU) == first
    assert path.read_bytes() == written
    assert {count for of in first.ms.values() for count in of} == {8, 16}


def test_a_known_value_is_taken_from_the_file_and_what_lacks_is_added(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    latency_costs(path, [Site(CONV, (CUBE,))], align=16, machine=MACHINE, device=CPU)
    content = json.loads(path.read_text(encoding="utf-8"))
    (key,) = content["ms"]
    content["ms"][key] = {"16": 123.0}
    path.write_text(json.dumps(content), encoding="utf-8")
    costs = latency_costs(path, SITES, align=16, machine=MACHINE, device=CPU)
    assert costs.group(CONV, CUBE, 16) == 123.0
    assert costs.group(CONV, LINE, 16) > 0


def test_a_table_of_another_machine_or_none_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    latency_costs(path, SITES, align=16, machine=MACHINE, device=CPU)
    for other in ({"threads": 2}, {"device": "a GPU"}):
        ((key, value),) = other.items()
        with pytest.raises(InputError, match=re.escape(str(path))) as error:
            latency_costs(path, SITES, align=16, machine={**MACHINE, **other}, device=CPU)
        for token in (key, str(value), str(MACHINE[key]), "search.latency_table"):
            assert token in str(error.value)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        latency_costs(path, SITES, align=16, machine=MACHINE, device=CPU)
    for key in ("machine", "ms"):  # what the file lacks
        assert re.search(rf"\b{key}\b", str(error.value))
    assert "search.latency_table" not in str(error.value)  # it is not the error of another machine


def test_a_table_that_says_no_device_is_of_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    latency_costs(path, SITES, align=16, machine=MACHINE, device=CPU)
    written = path.read_text(encoding="utf-8")
    content = json.loads(written)
    del content["machine"]["device"]
    path.write_text(json.dumps(content), encoding="utf-8")
    costs = latency_costs(path, SITES, align=16, machine=MACHINE, device=CPU)
    assert {key: {str(n): ms for n, ms in of.items()} for key, of in costs.ms.items()} == content["ms"]


def test_kernels_and_the_whole_network_are_timed_on_the_run_s_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = composed("mode=search", "search.cost=latency", f"paths.cache={tmp_path}")
    plan = replace(PLAN, patch=(16, 16, 16))
    shape = Shape(1, 2, plan.widths, plan.strides, plan.kernels, plan.patch)
    supernet = SuperNet("12d", "encoder", "sampled", "shared", 0.1)
    devices = []

    def timed(module: nn.Module, shape: tuple[int, ...], **_: int) -> float:
        devices.append(next(module.parameters()).device.type)
        return 1.0

    monkeypatch.setattr(latency, "latency_ms", timed)
    monkeypatch.setattr(search_costs, "latency_ms", timed)
    monkeypatch.setattr(search_costs, "choose_device", lambda _cfg: torch.device("meta"))
    spec = design(UNetModel("plain", 1, 1, True), shape, supernet, None)
    search_costs.budget_of(cfg, spec, plan, "latency", 50.0)
    assert set(devices) == {"meta"}
    table = json.loads((tmp_path / "latency.json").read_text(encoding="utf-8"))
    assert table["machine"]["device"] == "meta"


def test_between_measured_widths_is_a_straight_line_and_nothing_costs_nothing() -> None:
    key = "in 16, of 16, kernel 3x1x1, stride 1x1x1, size 12x12x12"
    costs = LatencyCost(MACHINE, {key: {8: 1.0, 16: 3.0}})
    assert [costs.group(CONV, LINE, channels) for channels in (0, 8, 12, 16)] == [0.0, 1.0, 2.0, 3.0]


def test_a_group_of_many_counts_the_copy_that_joins_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Parts without it add up to less than the mixed convolution takes; a single group has none."""
    copied: dict[int, int] = {}

    def counted(module: nn.Module, shape: tuple[int, ...], *, runs: int) -> float:
        with torch.inference_mode():
            y = module(torch.ones(shape))
        channels = module.get_submodule("conv").out_channels
        assert isinstance(channels, int)
        copied[channels] = y.shape[1] - channels
        return 1.0

    monkeypatch.setattr(latency, "latency_ms", counted)
    latency_costs(tmp_path / "latency.json", SITES, align=8, machine=MACHINE, device=CPU)
    assert copied == {8: 8, 16: 0}


def test_a_network_of_a_race_is_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two times of one network differ: it could keep the budget when it is fitted, and not afterwards."""
    cfg = composed("mode=search", "search.cost=latency", "search.budget=50", f"paths.cache={tmp_path}")
    plan = replace(PLAN, patch=(16, 16, 16))
    shape = Shape(1, 2, plan.widths, plan.strides, plan.kernels, plan.patch)
    dense = design(UNetModel("plain", 1, 1, True), shape, Conv3d(), None)
    times = iter([100.0, 25.0])
    monkeypatch.setattr(search_costs, "latency_ms", lambda *_: next(times))
    monkeypatch.setattr(search_costs, "choose_device", lambda _cfg: CPU)
    prices = search_costs.network_prices(cfg, dense, dense, plan)
    lines, cubes = (
        Layout({"encoder.0.0": {kernel: 8}}, network=outline_of(dense)) for kernel in (LINE, CUBE)
    )
    again = replace(lines, provenance={"method": "race"})
    assert [prices(layout) for layout in (lines, cubes, again)] == [[2.0], [0.5], [2.0]]
