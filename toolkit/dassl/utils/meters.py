"""Running averages of what a training loop measures."""

from collections.abc import Mapping
from typing import SupportsFloat


class AverageMeter:
    """The last value and the average of all; `val`, `avg`, `sum`, `count`."""

    def __init__(self) -> None:
        """Start empty."""
        self.reset()

    def reset(self) -> None:
        """Forget all values."""
        self.val = 0.0
        self.avg = 0.0
        self.sum = 0.0
        self.count = 0

    def update(self, val: SupportsFloat, n: int = 1) -> None:
        """Add `val`, a number or a one-element tensor, as the mean of `n` values."""
        self.val = float(val)
        self.sum += self.val * n
        self.count += n
        self.avg = self.sum / self.count if self.count else 0.0


class MetricMeter:
    """One `AverageMeter` a name; its text is `loss 0.1234 (0.2345) acc 50.0000 (40.0000)`."""

    def __init__(self, delimiter: str = " ") -> None:
        """Start empty; `delimiter` stands between the names in the text."""
        self.delimiter = delimiter
        self.meters: dict[str, AverageMeter] = {}

    def update(self, values: Mapping[str, SupportsFloat]) -> None:
        """Add one value a name: numbers or one-element tensors."""
        for name, value in values.items():
            self.meters.setdefault(name, AverageMeter()).update(value)

    def __str__(self) -> str:
        """Return name, last value and average of each, in the order of their first update."""
        return self.delimiter.join(
            f"{name} {meter.val:.4f} ({meter.avg:.4f})" for name, meter in self.meters.items()
        )
