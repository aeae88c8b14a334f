import pickle
import re
from pathlib import Path

import pytest
import torch

from app.core.errors import InputError
from app.models.checkpoint import read_checkpoint, write_checkpoint
from tests.support.networks import make_bench
from tests.support.volumes import MakeTask


def test_a_checkpoint_rebuilds_its_network(make_task: MakeTask, tmp_path: Path) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    state = bench.state()
    write_checkpoint(tmp_path / "last.pt", bench.checkpoint(state))
    again = read_checkpoint(tmp_path / "last.pt")
    assert (again.network, again.plan, again.labels) == (bench.network, bench.plan, bench.task.labels)
    network = again.network.build()
    network.load_state_dict(again.weights)
    x = torch.randn(1, 1, 16, 16, 16)
    torch.testing.assert_close(network.eval()(x), state.network.eval()(x), atol=1e-5, rtol=1e-5)


def test_damaged_missing_and_foreign_files_are_input_errors(make_task: MakeTask, tmp_path: Path) -> None:
    bench = make_bench(make_task(cases=3), tmp_path / "cache")
    path = tmp_path / "last.pt"
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_checkpoint(path)
    write_checkpoint(path, bench.checkpoint(bench.state()))
    read_checkpoint(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    torch.save({"weights": {}}, path)
    with pytest.raises(InputError, match=re.escape(str(path))) as error:
        read_checkpoint(path)
    assert "format" in str(error.value)  # the key that is missing


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("executed"),))  # type: ignore[return-value]


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "network": Hostile()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Hostile()))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "executed").exists()
