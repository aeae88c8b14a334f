"""What label values mean for the outputs of a network, also where a voxel's label is only partly known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """Tables over outputs and label values; a value stands for the set of labels that a voxel may have.

    `possible` (labels, values): whether a voxel of that value may have that label. `member` and `known`
    (outputs, values): whether a voxel of that value belongs to an output's region, and whether that is known.
    """

    names: tuple[str, ...]
    exclusive: bool
    """Whether each voxel belongs to exactly one output (softmax), or outputs are regions (sigmoid)."""
    possible: Tensor
    member: Tensor
    known: Tensor

    @classmethod
    def of_labels(cls, count: int) -> Self:
        """One output per label, every voxel's label known."""
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
        """Targets of a task.

        `labels` are those that can be predicted. Voxels of the value `ignore` may have any label. Values from
        the first free one on stand for the sets `unknown` of labels that a voxel may have.
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
        """How many labels can be predicted."""
        return self.possible.shape[0]

    @property
    def certain(self) -> bool:
        """Whether every value stands for one label."""
        return self.possible.shape[1] == self.labels

    def to(self, device: torch.device) -> "Targets":
        """The same tables on a device."""
        tables = (table.to(device) for table in (self.possible, self.member, self.known))
        return Targets(self.names, self.exclusive, *tables)
