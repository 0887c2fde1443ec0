"""CLIP-Adapter (arXiv 2110.04544): a bottleneck on the global features, blended with them."""

from __future__ import annotations

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from vtclip.engine import FrozenCLIPTrainer
from vtclip.features import Features
from vtclip.methods.clip_adapter import Adapter, blend
from vtclip.methods.zero_shot import cosine_logits
from vtclip.results import Search
from vtclip.search import grid_search

RATIOS = [step / 10 for step in range(11)]


@TRAINER_REGISTRY.register()
class CLIPAdapter(FrozenCLIPTrainer):
    """Trains the adapter at TRAINER.CLIPADAPTER.RATIO, then searches the ratio."""

    head: Adapter

    def build_head(self) -> Adapter:
        """Return the adapter at the width of the backbone."""
        return Adapter(self.provider.embed_dim, self.cfg.TRAINER.CLIPADAPTER.REDUCTION)

    def logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] of the adapted features."""
        ratio = self.chosen.get("ratio", self.cfg.TRAINER.CLIPADAPTER.RATIO)
        g = features.global_features
        return self._match(g, self.head(g), ratio)

    def search(self) -> Search:
        """Choose the ratio."""
        features, labels = self.features("val")
        g = features.global_features
        adapted = self.head(g)
        return grid_search(
            lambda ratio: self._match(g, adapted, ratio), labels, grid={"ratio": RATIOS}
        )

    def _match(self, g: Tensor, adapted: Tensor, ratio: float) -> Tensor:
        return cosine_logits(blend(g, adapted, ratio), self.text_features, self.scale)
