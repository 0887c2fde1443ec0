"""The order in which a loader takes its items."""

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import RandomSampler, Sampler, SequentialSampler

from dassl.data.datasets import Datum
from dassl.utils import check_availability
from dassl.utils.checks import check_whole

SAMPLERS = ("RandomSampler", "SequentialSampler", "RandomClassSampler")


class RandomClassSampler(Sampler[int]):
    """Batches of `batch_size // n_ins` different classes with `n_ins` items each.

    An epoch takes each item at most once, in groups of `n_ins` of one class; a class with fewer
    items gives one group, drawn with replacement. Classes with the most groups left come first, as
    that makes the most batches of an unbalanced list.
    """

    def __init__(self, data_source: Sequence[Datum], batch_size: int, n_ins: int) -> None:
        """Group `data_source` by label.

        Raises:
            ValueError: `batch_size` is no multiple of `n_ins`, or there are too few classes.
        """
        check_whole(batch_size, "BATCH_SIZE", low=1)
        check_whole(n_ins, "N_INS", low=1)
        if batch_size % n_ins:
            raise ValueError(f"BATCH_SIZE: {batch_size} must be a multiple of N_INS {n_ins}")
        self.n_ins = n_ins
        self.n_classes = batch_size // n_ins
        self.by_label: dict[int, list[int]] = {}
        for index, item in enumerate(data_source):
            self.by_label.setdefault(item.label, []).append(index)
        if self.n_classes > len(self.by_label):
            raise ValueError(
                f"BATCH_SIZE: {batch_size} with N_INS {n_ins} needs {self.n_classes} classes, "
                f"and there are {len(self.by_label)}"
            )

    def _groups(self, indices: list[int]) -> list[list[int]]:
        if len(indices) < self.n_ins:
            return [random.choices(indices, k=self.n_ins)]
        order = random.sample(indices, len(indices))
        return [
            order[start : start + self.n_ins]
            for start in range(0, len(order) - self.n_ins + 1, self.n_ins)
        ]

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of one epoch."""
        left = [self._groups(indices) for indices in self.by_label.values()]
        while len(left) >= self.n_classes:
            random.shuffle(left)
            left.sort(key=len, reverse=True)
            for groups in left[: self.n_classes]:
                yield from groups.pop()
            left = [groups for groups in left if groups]

    def __len__(self) -> int:
        """Return the number of indices of one epoch."""
        counts = [max(1, len(indices) // self.n_ins) for indices in self.by_label.values()]
        # b batches can be filled as long as each class gives at most one group to each of them.
        batches = 0
        while sum(min(count, batches + 1) for count in counts) >= self.n_classes * (batches + 1):
            batches += 1
        return batches * self.n_classes * self.n_ins


def build_sampler(
    sampler_type: str, data_source: Sequence[Datum], batch_size: int = 32, n_ins: int = 16
) -> Sampler[int]:
    """Return the sampler called `sampler_type` over `data_source`.

    Args:
        sampler_type: RandomSampler, SequentialSampler or RandomClassSampler.
        data_source: the items.
        batch_size: items a batch; only RandomClassSampler looks at it.
        n_ins: items of one class in a batch; only RandomClassSampler looks at it.

    Raises:
        ValueError: no such sampler, or one that cannot be built from these numbers.
    """
    check_availability(sampler_type, SAMPLERS, "SAMPLER")
    if sampler_type == "RandomSampler":
        return RandomSampler(data_source)
    if sampler_type == "SequentialSampler":
        return SequentialSampler(data_source)
    return RandomClassSampler(data_source, batch_size, n_ins)
