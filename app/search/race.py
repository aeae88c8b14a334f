"""A race: many networks train for a few steps, the better half continues, until one is left.

This is successive halving (Jamieson and Talwalkar, AISTATS 2016) with short trainings: in each rung half as
many networks train for twice as many steps. In later rungs half of the networks are children of the best ones
and start from a parent's weights. All networks of a rung train on the same batches, with a learning-rate
schedule of the rung's own. They are compared by their loss on patches of training cases on which none of them
trains. The planned network and the best challenger are trained and judged once more, from new weights; the
challenger wins if its estimate is better by at least one standard deviation.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from app.core import run_folder
from app.core.errors import InputError
from app.core.files import remove
from app.core.layout import Layout
from app.core.progress import Advance, progress_bar
from app.models.checkpoint import read_checkpoint, write_checkpoint
from app.models.network import NetworkSpec, build_named, to_device
from app.search.channel_worth import ChannelWorth
from app.search.finish import Finalist, Finish, agreement, duel
from app.search.guess import learn_guess
from app.search.heirs import take_over
from app.search.judge import JUDGED, Judge
from app.search.race_record import RaceEntry, Record, mean_worth, multiplied
from app.search.space import Space
from app.train.state import NotFinite
from app.train.training import Training

log = logging.getLogger(__name__)

_STEPS = 100  # of a network in the first rung, if as many networks begin as `_MOST`
_MOST, _FEW = 12, 6  # networks at the start
_LAST = 3  # networks of the last rung before the final, at least
_FINALISTS = 2


@dataclass(frozen=True)
class Rung:
    """A round of a race: its networks train for the same number of steps, from batch `first` on."""

    networks: int
    steps: int
    first: int
    again: bool = False
    """Whether they start again from new weights, with another seed."""


def rungs(steps: int, networks: int | None) -> tuple[Rung, ...]:
    """Return the rungs of a race with `steps` in total, equally many per rung; the last one is the final.

    If `networks` is None, the race starts with many networks if each gets enough steps, else with few.
    """
    if networks is None:
        networks = _MOST if steps >= 4 * _MOST * _STEPS else _FEW
    sizes = [networks]
    while len(sizes) < 3 and sizes[-1] // 2 >= _LAST:
        sizes.append(sizes[-1] // 2)
    share = steps // (len(sizes) + 1)
    found, first = list[Rung](), 0
    for size in sizes:
        found.append(Rung(size, max(1, share // size), first))
        first += found[-1].steps
    return *found, Rung(_FINALISTS, max(1, share // _FINALISTS), first, again=True)


@dataclass(frozen=True)
class Race:
    """A race of networks: their training, the space they come from, their judge and the rungs."""

    training: Training
    space: Space
    network: Callable[[Layout], NetworkSpec]
    judge: Judge
    rungs: Sequence[Rung]
    proposals: int = 32
    """Children of which the one with the lowest predicted loss joins a rung."""

    @property
    def folder(self) -> Path:
        """The folder of the networks' checkpoints until the race ends."""
        return self.training.folder / run_folder.RACE

    @property
    def _record(self) -> Path:
        return self.training.folder / run_folder.RACE_RECORD

    @property
    def equivalent_steps(self) -> float:
        """Number of steps as long as all trainings and judgements; a forward pass takes a third of a step."""
        return sum(rung.networks * (rung.steps + JUDGED / 3) for rung in self.rungs)

    def run(self) -> Finish:
        """Run the race, or resume it after the last network in the record in the run's folder.

        Raises:
            InputError: no network within the budget was found, or a file cannot be written.
        """
        record = Record.read(self._record)
        total = sum(rung.networks * rung.steps for rung in self.rungs)
        done = sum(
            len([entry for entry in entries if entry.done]) * rung.steps
            for rung, entries in zip(self.rungs, record.rungs, strict=False)
        )
        with self._naming_what_is_kept(), progress_bar("Racing", total, done=done) as advance:
            for number, rung in enumerate(self.rungs):
                if len(record.rungs) == number:
                    started = time.perf_counter()
                    entries = self._entries(record, number, rung)
                    record.begin(entries, time.perf_counter() - started)
                for entry in record.rungs[number]:
                    if not entry.done:
                        self._train(record, number, entry, advance)
                best = min(record.rungs[number], key=lambda entry: entry.rank)
                advance.say(
                    f"rung {number + 1} of {len(self.rungs)}: {rung.networks} networks of {rung.steps} "
                    f"steps, best loss {best.rank:.4f} (network {best.number})"
                )
                for path in self.folder.glob(f"{number - 1}-*.pt") if not rung.again else ():
                    remove(path)
        return self._finish(record)

    @contextmanager
    def _naming_what_is_kept(self) -> Iterator[None]:
        """Add to an error that stops the race how many trainings are kept, and how to resume."""
        try:
            yield
        except InputError as error:
            if not self._record.is_file():
                raise
            kept = sum(entry.done for entries in Record.read(self._record).rungs for entry in entries)
            known = f"{kept} of {sum(rung.networks for rung in self.rungs)} trainings are kept"
            raise InputError(f"{error}; {known}, resume with {self.training.resumes_by}") from None

    def _entries(self, record: Record, number: int, rung: Rung) -> list[RaceEntry]:
        """Return the networks of a rung: the first ones, the better half with children, or the finalists."""
        seed = self.training.recipe.seed
        if number == 0:
            with progress_bar("Drawing networks", rung.networks) as advance:
                found = list[RaceEntry]()
                for index in range(rung.networks):
                    layout = self.space.first(index, seed)
                    if layout in [entry.layout for entry in found]:
                        layout = self.space.random(seed, index)
                    found.append(RaceEntry(index, layout))
                    advance()
            return found
        guess = learn_guess(record.rungs)
        before = sorted(record.rungs[-1], key=guess.of)
        if rung.again:
            return [RaceEntry(entry.number, entry.layout) for entry in _better(before, rung.networks)]
        kept = _better(before, rung.networks - rung.networks // 2)
        entries = [RaceEntry(entry.number, entry.layout, parent=entry.number) for entry in kept]
        known = [entry.layout for entries in record.rungs for entry in entries]
        taken = 1 + max(entry.number for entries in record.rungs for entry in entries)
        for child in range(rung.networks // 2):
            first = kept[child % len(kept)]
            second = kept[(child + 1) % len(kept)]
            assert first.layout.network is not None
            worth = multiplied(mean_worth(before, first.layout.network.strides), guess.worth(first.layout))
            parents = (first.layout, second.layout)
            proposed = [
                self.space.child(parents, worth, seed, number, child, n) for n in range(self.proposals)
            ]
            fresh = [layout for layout in proposed if layout not in known] or proposed
            entries.append(RaceEntry(taken + child, min(fresh, key=guess), parent=first.number))
            known.append(entries[-1].layout)
        return entries

    def _train(self, record: Record, number: int, entry: RaceEntry, advance: Advance) -> None:
        """Train and judge one network of a rung, from the weights of its parent if it has one; record it."""
        rung, started = self.rungs[number], time.perf_counter()
        torch.manual_seed(self.training.recipe.seed + rung.again)
        spec = self.network(entry.layout)
        settings = replace(self.training.settings, steps=rung.steps, ema_decay=None)
        assert entry.layout.network is not None
        outline = entry.layout.network
        plan = replace(
            self.training.plan, widths=outline.widths, strides=outline.strides, kernels=outline.kernels
        )
        training = replace(self.training, settings=settings, network=spec, plan=plan)
        network, paths = build_named(spec)
        if entry.parent is not None:
            parent = read_checkpoint(self.folder / f"{number - 1}-{entry.parent}.pt")
            take_over(network, parent.trained_network())
        state = training.state(to_device(network, training.recipe.device))
        worth = ChannelWorth(state, entry.layout, paths)
        try:
            for batch in training.batches.ahead(rung.first, rung.first + rung.steps):
                state.network.train()
                state.update(batch, training.recipe.loss, settings.clip_norm)
                state.follow(state.step)
                if 2 * state.step > rung.steps:
                    worth.add()
                advance(note=f"network {entry.number}, loss {state.losses[-1]:.3f}")
            trained = time.perf_counter()
            judged = self.judge(network)
            loss = judged if math.isfinite(judged) else None
            if loss is None:
                log.warning("network %d leaves the race: got a loss of %s", entry.number, judged)
        except NotFinite as error:
            log.warning("network %d leaves the race: %s", entry.number, error)
            advance(rung.steps - state.step)
            loss, trained = None, time.perf_counter()
        entry.loss, entry.done, entry.worth = loss, True, worth.found()
        entry.train_seconds, entry.judge_seconds = trained - started, time.perf_counter() - trained
        if not rung.again:
            path = self.folder / f"{number}-{entry.number}.pt"
            write_checkpoint(path, training.checkpoint(state).without_training())
        record.write()

    def _finish(self, record: Record) -> Finish:
        before, guess = learn_guess(record.rungs[:-1]), learn_guess(record.rungs)
        again = {entry.number: entry.rank for entry in record.rungs[-1]}
        last = sorted(record.rungs[-2], key=before.of)
        finalists = [one for one in last if math.isfinite(max(one.rank, again.get(one.number, math.inf)))]
        if not finalists:
            raise InputError(
                "search.method=race: no loss stayed finite to the end; try a smaller optimizer.lr"
            )
        contest = duel(finalists, guess)
        winner = min(finalists, key=guess.of)
        if contest is not None and not contest.won:
            winner = next(one for one in finalists if one.number == 0)
        every = [entry for entries in record.rungs for entry in entries]
        weights = self.folder / f"{len(self.rungs) - 2}-{winner.number}.pt"
        if not weights.is_file():  # the race had already ended
            weights = self.training.folder / run_folder.LAST
        return Finish(
            winner.layout,
            read_checkpoint(weights),
            winner.number,
            len({entry.number for entry in every}),
            sum(entry.train_seconds for entry in every),
            sum(entry.judge_seconds for entry in every),
            record.draw_seconds,
            [Finalist(one.number, before.of(one), one.rank, again[one.number]) for one in finalists],
            contest,
            agreement(learn_guess(record.rungs[:-2]), record.rungs[-2]),
        )


def _better(before: Sequence[RaceEntry], count: int) -> list[RaceEntry]:
    """Return the best entries, and always the first network: the winner is measured against it."""
    kept = list(before[:count])
    planned = next((entry for entry in before if entry.number == 0), None)
    if planned is None or planned.loss is None or planned in kept:
        return kept
    return [*kept[:-1], planned]


def clear(folder: Path) -> None:
    """Remove the checkpoints of a race that has ended; its record stays."""
    for path in (folder / run_folder.RACE).glob("*.pt"):
        remove(path)
