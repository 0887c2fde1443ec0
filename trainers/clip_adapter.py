"""CLIP-Adapter (arXiv 2110.04544): a bottleneck on the global features, blended with them."""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.clip_adapter import Adapter, blend
from vtclip.methods.zero_shot import cosine_logits
from vtclip.results import Search
from vtclip.search import grid_search

RATIOS = [step / 10 for step in range(11)]


@TRAINER_REGISTRY.register()
class CLIPAdapter(FrozenCLIPTrainer):
    """Trains the adapter at TRAINER.CLIPADAPTER.RATIO.

    The defaults are the authors': CoOp's optimizer and schedule, and one ratio for all datasets.
    configs/trainers/CLIPAdapter/tuned.yaml is this project's own choice.
    """

    OPTIONS = {
        "REDUCTION": Option(4, "how much narrower the bottleneck is", low=1, high=10_000),
        "RATIO": Option(0.2, "weight of the adapter's result", low=0, high=1),
        "SEARCH_RATIO": Option(False, "choose the ratio that is tested on validation images"),
    }
    PROTOCOL = {"OPTIM.NAME": "sgd", "OPTIM.LR": 2e-3}
    transfers = True
    head: Adapter

    def build_head(self) -> Adapter:
        """Return the adapter at the width of the backbone."""
        return Adapter(self.provider.embed_dim, self.options.REDUCTION)

    def logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] of the adapted features."""
        g = features.global_features
        return self._match(g, self.head(g), self.chosen("ratio"))

    def chooses_on_val(self) -> bool:
        """See :meth:`FrozenCLIPTrainer.chooses_on_val`."""
        return bool(self.options.SEARCH_RATIO)

    def fixed(self) -> dict[str, float]:
        """Return RATIO, the one that the adapter is trained at."""
        return {"ratio": float(self.options.RATIO)}

    def search(self) -> Search:
        """Choose the ratio."""
        features, labels = self.features("val")
        g = features.global_features
        adapted = self.head(g)
        return grid_search(
            lambda ratio: self._match(g, adapted, ratio),
            labels,
            grid={"ratio": RATIOS},
            reference=cosine_logits(g, self.text_features, self.scale),
        )

    def _match(self, g: Tensor, adapted: Tensor, ratio: float) -> Tensor:
        return cosine_logits(blend(g, adapted, ratio), self.text_features, self.scale)
