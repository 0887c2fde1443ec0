"""Are logits and gradients of a device as near to the truth as those of the CPU?

The truth is the same computation in float64 on the CPU. A device adds up in another order, so its
rounding errors are other ones of the same size: up to FACTOR times those of the CPU pass. Where the
CPU happens to be nearly exact, FLOOR units of rounding of the arithmetic pass. Products in TF32,
which round to 2^-11, would be 8000 times as far away as those in fp32, and fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.check_gpu.cases import CASES, Case, Found, draw
from benchmarks.check_gpu.lines import Line, limited
from benchmarks.check_gpu.sizes import Sizes
from vtclip.precision import autocast

FACTOR = 4.0
FLOOR = 16.0
# the largest relative error of one rounding
UNITS = {"fp32": 2.0**-24, "bf16": 2.0**-9}


def check_equality(device: torch.device, sizes: Sizes) -> Iterator[Line]:
    """Compare every case on a device with the CPU, in fp32 and, where it may be, in bf16."""
    for case in CASES:
        for precision in ("fp32", "bf16") if case.in_bf16 else ("fp32",):
            products = torch.bfloat16 if precision == "bf16" else None
            shape = sizes.compared_in_bf16 if products else sizes.compared
            exact = found_on("cpu", case, shape, torch.float64)
            theirs = found_on("cpu", case, shape, torch.float32, products)
            ours = found_on(device, case, shape, torch.float32, products)
            errors = [error_of_outputs(x.outputs, exact.outputs) for x in (ours, theirs)]
            yield compared(f"{case.name}: outputs, {precision}", errors, UNITS[precision])
            if exact.gradients:
                errors = [error_of_gradients(x.gradients, exact.gradients) for x in (ours, theirs)]
                yield compared(f"{case.name}: gradients, {precision}", errors, UNITS[precision])


def found_on(
    device: torch.device | str,
    case: Case,
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    products: torch.dtype | None = None,
) -> Found:
    """Compute a case of K, B, S and D on a device and return the tensors on the CPU."""
    inputs = draw(*shape, device, dtype)
    with autocast(torch.device(device), products):
        found = case.run(inputs)
    return Found(*([tensor.cpu() for tensor in part] for part in found))


def compared(what: str, errors: Sequence[float], unit: float) -> Line:
    """Return the line that compares the error of a device with that of the CPU."""
    of_device, of_cpu = errors
    return limited("equality", what, of_device, max(FACTOR * of_cpu, FLOOR * unit))


def error_of_outputs(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """Return the largest difference, relative to the largest entry of each exact tensor."""
    differences = [
        (tensor.double() - truth).abs().max() / truth.abs().max()
        for tensor, truth in zip(found, exact, strict=True)
    ]
    return float(torch.stack(differences).max())


def error_of_gradients(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """Return the length of the difference over that of the gradient, of all parameters as one.

    Not one by one: the gradient of the bias of the keys is zero but for rounding.
    """
    ours, truth = (torch.cat([x.double().flatten() for x in tensors]) for tensors in (found, exact))
    return float((ours - truth).norm() / truth.norm())
