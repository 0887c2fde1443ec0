"""One ONNX file of a finished run, compared with PyTorch before it gets its name."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vtclip.errors import UserError, shortened
from vtclip.export.facts import metadata_of
from vtclip.export.graph import SPATIAL, HeadGraph, ImageGraph
from vtclip.extras import require
from vtclip.files import atomic_path
from vtclip.predictor import Restored

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OUTPUTS = ("logits", "probabilities")
# of the largest logit, or of 1 where that is smaller
TOLERANCE = 1e-4
# a message of protobuf cannot be larger
LARGEST_FILE = 2**31 - 1

Graph = HeadGraph | ImageGraph


def require_onnx() -> None:
    """Refuse where a package is absent.

    Raises:
        UserError: names the packages and how to install them.
    """
    require("onnx", "--onnx", PACKAGES)


def export_onnx(run: Restored, target: Path, *, with_backbone: bool = False) -> float:
    """Write head and texts of a run as an ONNX graph, whole or not at all.

    Inputs are global_features [B, D] and, for methods that use them, spatial_features [B, S, C],
    neither normalised; with the backbone they are pixels [B, 3, H, W], normalised. B and S are
    free. Outputs are logits and probabilities [B, K], float32.

    Args:
        run: a restored one; its trainer is switched to plain fp32.
        target: the file.
        with_backbone: whether the image encoder stands before the head.

    Returns:
        The largest difference of a logit from PyTorch's, on random inputs.

    Raises:
        UserError: packages are missing, the run has no backbone, the method cannot be exported, or
            the file cannot be written.
    """
    require_onnx()
    if with_backbone and run.backbone is None:
        raise UserError(
            f"{run.folder}: a run on a file of features, which has no backbone; leave "
            "--with-backbone out."
        )
    head = HeadGraph(run.trainer)
    graph: Graph = ImageGraph(run.backbone, head) if with_backbone and run.backbone else head
    graph.eval()
    content = _converted(graph, run)
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)
        return _difference(graph, temporary, run.model.trainer)


def _converted(graph: Graph, run: Restored) -> bytes:
    """Return the ONNX file of a graph.

    Raises:
        UserError: it cannot be exported.
    """
    method = run.model.trainer
    # an example of one image would fix the number of images
    examples = graph.examples(2)
    free = {name: _free_dimensions(name) for name in examples}
    try:
        with _silent(), torch.no_grad():
            program = torch.onnx.export(
                graph,
                tuple(examples.values()),
                dynamo=True,
                dynamic_shapes=tuple(free.values()),
                input_names=list(examples),
                output_names=list(OUTPUTS),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        reason = next(filter(None, map(str.strip, str(cause).splitlines())), type(cause).__name__)
        raise UserError(
            f"{method}: cannot be exported to ONNX ({shortened(reason, 200)})."
        ) from error
    assert program is not None  # dynamo=True returns one
    program.model.metadata_props.update(metadata_of(run.model))
    values = (value.const_value for value in program.model.graph.initializers.values())
    if sum(value.nbytes for value in values if value is not None) > LARGEST_FILE:
        raise UserError(
            f"{method}: with this backbone larger than an ONNX file can be (2 GB); leave "
            "--with-backbone out."
        )
    return program.model_proto.SerializeToString()


def _free_dimensions(name: str) -> dict[int, Any]:
    batch = {0: torch.export.Dim("batch")}
    return {**batch, 1: torch.export.Dim("locations")} if name == SPATIAL else batch


def _difference(graph: Graph, file: Path, method: str) -> float:
    """Return the largest difference of a logit from PyTorch's, for 1 and 3 random images.

    Raises:
        UserError: the graph does not run for other numbers of images, or scores otherwise.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = onnxruntime.SessionOptions()
    # warnings of the optimiser are of no use to a user
    options.log_severity_level = 3
    largest = 0.0
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        if not all(isinstance(entry.shape[0], str) for entry in session.get_inputs()):
            raise UserError(
                f"{method}: its ONNX graph has a fixed number of images, so it is not written; in "
                "its logits tensor.shape[0] takes the place of len(tensor)."
            )
        for n_images in (1, 3):
            inputs = graph.examples(n_images)
            arrays = {name: value.numpy() for name, value in inputs.items()}
            found = torch.from_numpy(session.run(["logits"], arrays)[0])
            expected = _logits(graph, inputs)
            difference = float((found - expected).abs().max())
            # written so that NaN is refused too
            if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
                raise UserError(
                    f"{method}: the ONNX graph scores otherwise than PyTorch (a logit differs by "
                    f"{difference:.2g}), so it is not written."
                )
            largest = max(largest, difference)
    except (
        *(errors.Fail, errors.InvalidArgument, errors.InvalidGraph),
        *(errors.NotImplemented, errors.RuntimeException),
    ) as error:
        raise UserError(
            f"{method}: its ONNX graph does not run ({shortened(str(error), 200)}), so it is not "
            "written."
        ) from error
    return largest


@torch.no_grad()
def _logits(graph: Graph, inputs: dict[str, Tensor]) -> Tensor:
    logits, _ = graph(*inputs.values())
    return logits


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the exporter's notes about its own optimisations from the user."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
