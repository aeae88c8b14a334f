"""The meaning of label values for a network's outputs, including values for partly known labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """A set of tables over outputs and label values; each value stands for the labels that a voxel may have.

    `possible` (labels, values): whether a voxel with this value may have this label.
    `member` (outputs, values): whether a voxel with this value certainly belongs to this output's region.
    `known` (outputs, values): whether it is certain that the voxel belongs or does not belong to it.
    """

    names: tuple[str, ...]
    exclusive: bool
    """Whether each voxel belongs to exactly one output (softmax); if not, outputs are regions (sigmoid)."""
    possible: Tensor
    member: Tensor
    known: Tensor

    @classmethod
    def of_labels(cls, count: int) -> Self:
        """Return targets with one output per label, for voxels whose label is always known."""
        return cls.made([str(value) for value in range(count)])

    @classmethod
    def made(
        cls,
        labels: Sequence[str],
        *,
        regions: Mapping[str, Sequence[int]] | None = None,
        ignore: int | None = None,
        unknown: Sequence[Sequence[int]] = (),
    ) -> Self:
        """Return the targets of a task.

        `labels` are those that can be predicted. Voxels with the value `ignore` may have any label. The
        values after these stand, in order, for the entries of `unknown`: sets of labels a voxel may have.
        """
        count = len(labels)
        sets: list[set[int]] = [{value} for value in range(count)]
        if ignore is not None:
            sets.append(set(range(count)))
        sets += [set(each) for each in unknown]
        outputs = [{value} for value in range(count)] if not regions else [set(v) for v in regions.values()]
        possible = torch.tensor([[label in each for each in sets] for label in range(count)])
        member = torch.tensor([[each <= output for each in sets] for output in outputs])
        apart = torch.tensor([[not each & output for each in sets] for output in outputs])
        names = tuple(labels) if not regions else tuple(regions)
        return cls(names, not regions, possible, member, member | apart)

    @property
    def labels(self) -> int:
        """Number of labels that can be predicted."""
        return self.possible.shape[0]

    @property
    def certain(self) -> bool:
        """Whether every value stands for exactly one label."""
        return self.possible.shape[1] == self.labels

    def to(self, device: torch.device) -> "Targets":
        """Return the same tables on a device."""
        tables = (table.to(device) for table in (self.possible, self.member, self.known))
        return Targets(self.names, self.exclusive, *tables)
