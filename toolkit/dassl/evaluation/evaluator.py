"""What a model's outputs are worth."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from yacs.config import CfgNode

from dassl.evaluation.build import EVALUATOR_REGISTRY
from dassl.utils.checkpoint import save_whole


class EvaluatorBase:
    """Collects outputs batch by batch and sums them up at the end."""

    def __init__(self, cfg: CfgNode) -> None:
        """Keep the configuration."""
        self.cfg = cfg

    def reset(self) -> None:
        """Forget all batches."""
        raise NotImplementedError

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Take in a batch: the model's output and the true labels."""
        raise NotImplementedError

    def evaluate(self) -> OrderedDict[str, float]:
        """Print and return the results; the first is the one that models are compared by."""
        raise NotImplementedError


def macro_f1_of(true: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> float:
    """Return the mean F1 over the labels that occur in `true`, in [0, 1].

    The F1 of a label is `2 TP / (2 TP + FP + FN)`. Scikit-learn has it as well, and takes longer to
    import than everything else here.
    """
    return float(
        np.mean(
            [
                2
                * ((true == label) & (predicted == label)).sum()
                / ((true == label).sum() + (predicted == label).sum())
                for label in np.unique(true)
            ]
        )
    )


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error rate and macro F1, all in percent."""

    def __init__(self, cfg: CfgNode, lab2cname: Mapping[int, str] | None = None) -> None:
        """Start empty; `lab2cname` is needed for TEST.PER_CLASS_RESULT only."""
        super().__init__(cfg)
        self._lab2cname = lab2cname or {}
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._true: list[int] = []
        self._predicted: list[int] = []

    def process(self, mo: torch.Tensor, gt: torch.Tensor) -> None:
        """Take in a batch: scores [B, C] and labels [B]."""
        self._predicted += mo.argmax(dim=1).tolist()
        self._true += gt.tolist()

    def evaluate(self) -> OrderedDict[str, float]:
        """Print and return accuracy, error_rate and macro_f1.

        Macro F1 is over the labels that occur among the true ones. TEST.PER_CLASS_RESULT prints a
        line a class and adds perclass_accuracy, the mean over the classes. TEST.COMPUTE_CMAT saves
        the confusion matrix, rows of true labels summing to 1, as OUTPUT_DIR/cmat.pt.

        Raises:
            ValueError: nothing was processed.
        """
        if not self._true:
            raise ValueError("nothing to evaluate")
        true, predicted = np.array(self._true), np.array(self._predicted)
        correct = int((true == predicted).sum())
        accuracy = 100.0 * correct / len(true)
        macro_f1 = 100.0 * macro_f1_of(true, predicted)
        results = OrderedDict(accuracy=accuracy, error_rate=100.0 - accuracy, macro_f1=macro_f1)
        print(
            "=> result\n"
            f"* total: {len(true):,}\n"
            f"* correct: {correct:,}\n"
            f"* accuracy: {accuracy:.1f}%\n"
            f"* error: {results['error_rate']:.1f}%\n"
            f"* macro_f1: {macro_f1:.1f}%"
        )
        if self.cfg.TEST.PER_CLASS_RESULT:
            results["perclass_accuracy"] = self._per_class(true, predicted)
        if self.cfg.TEST.COMPUTE_CMAT:
            self._save_confusion_matrix(true, predicted)
        return results

    def _per_class(self, true: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]) -> float:
        print("=> per-class result")
        accuracies = []
        for label in np.unique(true).tolist():
            of_class = true == label
            total, correct = int(of_class.sum()), int((predicted[of_class] == label).sum())
            accuracies.append(100.0 * correct / total)
            print(
                f"* class: {label} ({self._lab2cname.get(label, '')})\ttotal: {total:,}\t"
                f"correct: {correct:,}\tacc: {accuracies[-1]:.1f}%"
            )
        mean = float(np.mean(accuracies))
        print(f"* average: {mean:.1f}%")
        return mean

    def _save_confusion_matrix(
        self, true: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64]
    ) -> None:
        from sklearn.metrics import confusion_matrix

        path = Path(self.cfg.OUTPUT_DIR, "cmat.pt")
        path.parent.mkdir(parents=True, exist_ok=True)
        matrix = confusion_matrix(true, predicted, normalize="true")
        save_whole(torch.from_numpy(matrix), path)
        print(f'Confusion matrix saved to "{path}"')
