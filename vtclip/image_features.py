"""The features of a batch of images, in one record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# the sum of the squares of some hundred such values is still a float32
LARGEST_VALUE = 1e18


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of B images, not normalised.

    Attributes:
        global_features: g [B, D], the features that CLIP itself compares with texts.
        spatial_features: F [B, S, C], one row per location, C = D in the joint space; None where
            they are not needed.

    Example:
        >>> features = Features(torch.zeros(4, 2), torch.zeros(4, 9, 2))
        >>> len(features)
        4
        >>> part = features[torch.tensor([3, 0])]
        >>> part.global_features.shape, part.spatial_features.shape
        (torch.Size([2, 2]), torch.Size([2, 9, 2]))
    """

    global_features: Tensor
    spatial_features: Tensor | None = None

    def __len__(self) -> int:
        """Return B."""
        return len(self.global_features)

    def __getitem__(self, rows: Tensor | slice | list[int]) -> Features:
        """Return the features of some images.

        Args:
            rows: a slice (a view, nothing is copied), or positions [n], in any order, also
                repeated; a tensor of positions is on the CPU or on the features' device.

        Example:
            >>> Features(torch.tensor([[0.0], [1.0], [2.0]]))[1:].global_features.tolist()
            [[1.0], [2.0]]
        """
        spatial = self.spatial_features
        return Features(self.global_features[rows], None if spatial is None else spatial[rows])

    @staticmethod
    def cat(parts: Sequence[Features]) -> Features:
        """Join batches, all with spatial features or all without.

        Example:
            >>> one = Features(torch.zeros(2, 3))
            >>> len(Features.cat([one, one, one]))
            6
        """
        spatial = [part.spatial_features for part in parts if part.spatial_features is not None]
        return Features(
            torch.cat([part.global_features for part in parts]),
            torch.cat(spatial) if spatial else None,
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Features:
        """Return the features on another device, in another type, or both.

        From the CPU to a CUDA device they are copied through pinned memory, without waiting.

        Args:
            device: None keeps the device.
            dtype: None keeps the type.

        Example:
            >>> Features(torch.zeros(2, 3)).to(dtype=torch.bfloat16).global_features.dtype
            torch.bfloat16
        """
        spatial = self.spatial_features
        return Features(
            _to(self.global_features, device, dtype),
            None if spatial is None else _to(spatial, device, dtype),
        )

    def fault(self) -> tuple[str, int] | None:
        """Return a value that cannot be computed with, None where there is none.

        Nothing of the size of the features is allocated, unless there is such a value.

        Returns:
            What is wrong ("spatial features are not finite"), and the position of the image.

        Example:
            >>> Features(torch.tensor([[1.0], [float("nan")], [2.0]])).fault()
            ('global features are not finite', 1)
            >>> Features(torch.ones(1, 1), torch.full((1, 2, 1), -1e20)).fault()
            ('spatial features are beyond 1e+18, so that their squares overflow', 0)
            >>> Features(torch.ones(3, 2)).fault() is None
            True
        """
        tensors = {"global": self.global_features, "spatial": self.spatial_features}
        for name, values in tensors.items():
            if values is None or not values.numel():
                continue
            lowest, highest = (float(value) for value in values.aminmax())
            # written so that it is False for NaN
            if -LARGEST_VALUE <= lowest <= highest <= LARGEST_VALUE:
                continue
            finite = math.isfinite(lowest) and math.isfinite(highest)
            per_image = values.flatten(1)
            wrong = (
                per_image.abs() > LARGEST_VALUE if finite else per_image.isfinite().logical_not()
            )
            kind = (
                f"beyond {LARGEST_VALUE:.0e}, so that their squares overflow"
                if finite
                else "not finite"
            )
            return f"{name} features are {kind}", int(wrong.any(1).nonzero()[0])
        return None

    @property
    def nbytes(self) -> int:
        """The size of all values in bytes.

        Example:
            >>> Features(torch.zeros(2, 3), torch.zeros(2, 4, 3)).nbytes
            120
        """
        spatial = self.spatial_features
        return self.global_features.nbytes + (0 if spatial is None else spatial.nbytes)


def _to(tensor: Tensor, device: torch.device | str | None, dtype: torch.dtype | None) -> Tensor:
    device = tensor.device if device is None else torch.device(device)
    to_cuda = device.type == "cuda" and tensor.device.type == "cpu"
    if to_cuda:
        tensor = tensor.pin_memory()
    # from CUDA to the CPU a copy must have ended before its values are read
    return tensor.to(device, dtype, non_blocking=device.type == "cuda")
