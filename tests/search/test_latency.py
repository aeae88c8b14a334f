"""The table of measured kernels: kept, reused, added to, and never taken to another machine."""

import json
from pathlib import Path

import pytest
from planted import convolutions

from app.core.errors import InputError
from app.core.kernel import Kernel
from app.search.costs import Site
from app.search.latency import LatencyCost, latency_costs

LINE, CUBE = Kernel((3, 1, 1)), Kernel((3, 3, 3))
MACHINE = {"processor": "a", "threads": 1}
CONV = convolutions()[1]
SITES = [Site(CONV, (LINE, CUBE))]


def test_what_is_measured_is_kept_and_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    first = latency_costs(path, SITES, align=8, machine=MACHINE)
    written = path.read_bytes()
    assert latency_costs(path, SITES, align=8, machine=MACHINE) == first
    assert path.read_bytes() == written
    assert {count for of in first.ms.values() for count in of} == {8, 16}


def test_a_known_value_is_taken_from_the_file_and_what_lacks_is_added(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    latency_costs(path, [Site(CONV, (CUBE,))], align=16, machine=MACHINE)
    content = json.loads(path.read_text(encoding="utf-8"))
    (key,) = content["ms"]
    content["ms"][key] = {"16": 123.0}
    path.write_text(json.dumps(content), encoding="utf-8")
    costs = latency_costs(path, SITES, align=16, machine=MACHINE)
    assert costs.group(CONV, CUBE, 16) == 123.0
    assert costs.group(CONV, LINE, 16) > 0


def test_a_table_of_another_machine_or_none_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    latency_costs(path, SITES, align=16, machine=MACHINE)
    with pytest.raises(InputError, match=r"this machine is .*'threads': 2"):
        latency_costs(path, SITES, align=16, machine={"processor": "a", "threads": 2})
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="wanted a latency table"):
        latency_costs(path, SITES, align=16, machine=MACHINE)


def test_between_measured_widths_is_a_straight_line_and_nothing_costs_nothing() -> None:
    key = "in 16, kernel 3x1x1, stride 1x1x1, size 12x12x12"
    costs = LatencyCost(MACHINE, {key: {8: 1.0, 16: 3.0}})
    assert [costs.group(CONV, LINE, channels) for channels in (0, 8, 12, 16)] == [0.0, 1.0, 2.0, 3.0]
