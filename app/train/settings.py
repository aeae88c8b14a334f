"""The numbers of a training run; their values are in conf/train."""

from dataclasses import dataclass, replace

from app.core.errors import InputError


@dataclass(frozen=True)
class TrainSettings:
    """Limits, averaging and validation."""

    steps: int | None
    """Optimizer steps in all, at which the learning-rate schedule ends; None: as planned."""
    epoch_steps: int
    """Steps between validations; each ends with a row of metrics.csv and a checkpoint."""
    max_minutes: float | None
    """Stop after this time, validation included; the schedule then follows the time instead of the steps."""
    patience: int | None
    """Stop after this many epochs without a better validation Dice."""
    clip_norm: float | None
    """Largest norm of all gradients together."""
    ema_decay: float | None
    """Keep an exponential moving average of the weights and judge by it."""
    validation_cases: int | None
    """Held-out cases looked at after each epoch at most, None for all; the last evaluation takes all."""
    accumulate: int = 1
    """Batches whose gradients are added up for one optimizer step."""
    precision: str = "fp32"
    """What the network computes with: fp32, bf16, fp16, or auto; older runs go on in fp32."""
    compile: bool = False
    """Train through torch.compile."""
    freeze: tuple[str, ...] = ()
    """Patterns of names, such as encoder.*, of parameters that keep their values."""
    layer_decay: float | None = None
    """Learning rate of each layer, for one of the layer behind it; None: the same for all."""
    smaller_batch: bool = False
    """Where memory runs out, make steps of more and smaller batches instead of ending."""

    def __post_init__(self) -> None:
        """Validate values."""
        for name in ("steps", "epoch_steps", "patience", "validation_cases", "accumulate"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"train.{name}: got {value}, wanted at least 1")
        for name in ("max_minutes", "clip_norm"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"train.{name}: got {value}, wanted more than 0")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise InputError(f"train.ema_decay: got {self.ema_decay}, wanted between 0 and 1")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise InputError(f"train.layer_decay: got {self.layer_decay}, wanted more than 0, at most 1")

    @property
    def total_steps(self) -> int:
        """Optimizer steps in all, once a plan has said how many."""
        assert self.steps is not None, "see with_steps"
        return self.steps

    def with_steps(self, planned: int, *, factor: int = 1) -> "TrainSettings":
        """Return the settings with `factor` times the steps that are set, or that are planned."""
        return replace(self, steps=factor * (planned if self.steps is None else self.steps))
