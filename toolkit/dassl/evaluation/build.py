"""Evaluators by name."""

from typing import TYPE_CHECKING, Any

from yacs.config import CfgNode

from dassl.utils import Registry

if TYPE_CHECKING:
    from dassl.evaluation.evaluator import EvaluatorBase

EVALUATOR_REGISTRY = Registry("EVALUATOR_REGISTRY")


def build_evaluator(cfg: CfgNode, **kw: Any) -> "EvaluatorBase":
    """Return the evaluator `cfg.TEST.EVALUATOR`, made from `cfg` and `kw`.

    Raises:
        ValueError: no evaluator is registered under that name.
    """
    evaluator: EvaluatorBase = EVALUATOR_REGISTRY.get(cfg.TEST.EVALUATOR, "TEST.EVALUATOR")(
        cfg, **kw
    )
    return evaluator
