"""The facts of a method that stand beside it in its class; no PyTorch is needed to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from vtclip.config.keys import Option


def coop_epochs(dataset: str, shots: int) -> int:
    """Return the epochs of CoOp's protocol (arXiv 2109.01134, section 4.1).

    >>> [coop_epochs("OxfordPets", shots) for shots in (1, 2, 4, 8, 16, -1)]
    [50, 100, 100, 200, 200, 200]
    >>> coop_epochs("ImageNet", 16)
    50
    """
    if dataset == "ImageNet" or shots == 1:
        return 50
    return 100 if shots in (2, 4) else 200


class MethodFacts:
    """What a method declares about itself, for the configuration, the protocol and the results.

    Class attributes:
        OPTIONS: its configuration keys, TRAINER.<option_node>.<name>.
        PROTOCOL: the values of other configuration keys in its published recipe, by dotted key
            (optimiser, batch size, augmentation). What it does not name is CoOp's.
        PROTOCOL_ON: what differs from PROTOCOL on a dataset, by DATASET.NAME.
        prompts: the prompts of its publication: "single" (the dataset's template), "ensemble", or
            "imagenet" (the ensemble on ImageNet, single elsewhere) or "imagenet+single" (both on
            ImageNet). TRAINER.PROMPT overrides it.
        drop_last: whether an epoch leaves out a last batch that is not full, as Dassl's does.
        pool_views: whether each augmented view is a sample of its own; an epoch then draws as many
            batches as one view has from all views.
        uses_shots: whether it reads training images at all.
        FITTED: the shapes of the tensors that `fit` returns, or without a `fit` of those in the
            head, by name, which an evaluation checks. One letter per dimension: K for classes, D
            for the width of features, others for any number; "" is a scalar. They are float32, as
            in "KD"; "KD:float64" names another type, and "N:labels" int64 below K. Empty: nothing
            is checked.
        transfers: whether what was trained applies to classes that it was not trained on. With
            False, a run with TRAINER.TRANSFER is refused before anything is loaded.
        no_transfer_reason: why not, as a sentence.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {}
    PROTOCOL: ClassVar[Mapping[str, Any]] = {}
    PROTOCOL_ON: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    FITTED: ClassVar[Mapping[str, str]] = {}
    prompts: ClassVar[Literal["single", "ensemble", "imagenet", "imagenet+single"]] = "single"
    drop_last: ClassVar[bool] = True
    pool_views: ClassVar[bool] = False
    uses_shots: ClassVar[bool] = True
    transfers: ClassVar[bool] = False
    no_transfer_reason: ClassVar[str] = ""

    @classmethod
    def option_node(cls) -> str:
        """Return the name of the configuration node of :attr:`OPTIONS`: the class in capitals."""
        return cls.__name__.upper()

    @classmethod
    def protocol_epochs(cls, dataset: str, shots: int) -> int:
        """Return the epochs of the protocol: CoOp's, unless a method has its own.

        Args:
            dataset: DATASET.NAME.
            shots: images per class; -1 for all.
        """
        return coop_epochs(dataset, shots)

    @classmethod
    def transfer_obstacle(cls, cfg: CfgNode) -> str:
        """Return why a trained head does not apply to other classes, "" if it does.

        Args:
            cfg: the configuration, for methods where an option decides it.
        """
        if cls.transfers:
            return ""
        return cls.no_transfer_reason or f"{cls.__name__} does not declare that it transfers."


def registered_methods() -> dict[str, type[MethodFacts]]:
    """Return the methods in Dassl's registry that declare their facts, by name.

    Trainers of other projects in the same registry are left out.
    """
    from dassl.engine import TRAINER_REGISTRY

    found = {name: TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()}
    return {
        name: trainer
        for name, trainer in found.items()
        if isinstance(trainer, type) and issubclass(trainer, MethodFacts)
    }
