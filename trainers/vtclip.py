"""VT-CLIP: texts guided by the image through cross-attention (arXiv 2112.02399)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor

from vtclip.backbones import VisualTokens
from vtclip.checkpointing import StrPath
from vtclip.config import Option
from vtclip.config.keys import MANY
from vtclip.engine import FrozenCLIPTrainer
from vtclip.errors import UserError
from vtclip.features import Features
from vtclip.layers import VisualGuidedAttention
from vtclip.layers.shortlist import shortlist_of
from vtclip.methods.zero_shot import cosine_logits
from vtclip.precision import autocast, bf16_is_fast
from vtclip.results import Search
from vtclip.screen import say, warn
from vtclip.search import grid_search

# width D from which products in bf16 save time
WORTH_BF16 = 256
# rate of AdamW times width D above which training failed or lost accuracy (docs/protocols.md)
STEEP = 2.0
WEIGHTS = [step / 20 for step in range(21)]


@TRAINER_REGISTRY.register()
class VTCLIP(FrozenCLIPTrainer):
    """Trains visual-guided attention; its switches are TRAINER.VTCLIP, see docs/method.md."""

    # docs/method.md says what each does and how sure its default is
    OPTIONS = {
        "SELF_ATTENTION": Option(True, "the texts of all classes attend to each other first"),
        "FFN": Option(True, "a feed-forward part after the attention"),
        "FFN_RATIO": Option(4.0, "its width over D; 0 for none", low=0, high=100),
        "N_LAYERS": Option(1, "decoder layers", low=1, high=100),
        "N_HEADS": Option(8, "attention heads; a divisor of D", low=1, high=1000),
        "NORM": Option("post", "layer norm after or before each part", choices=("post", "pre")),
        "DROPOUT": Option(0.0, "probability", low=0, high=0.99),
        "VISUAL_TOKENS": Option(
            "joint",
            "spatial features in the joint space, or before it",
            choices=("joint", "backbone"),
        ),
        "INCLUDE_GLOBAL": Option(False, "the global features are one more key and value"),
        "RESIDUAL_RATIO": Option(1.0, "weight of the attention's result beside the text"),
        "RESIDUAL_LEARNT": Option(False, "train that weight"),
        "CLIP_LOGIT_WEIGHT": Option(0.0, "share of zero-shot CLIP's logits", low=0, high=1),
        "SEARCH_WEIGHT": Option(False, "choose CLIP_LOGIT_WEIGHT on validation images"),
        "ZERO_INIT": Option(True, "start exactly at zero-shot CLIP"),
        "MAX_PAIRS": Option(
            4096, "pairs of image and class held in memory at once; 0 for all", low=0, high=2**62
        ),
        "SHORTLIST": Option(
            0,
            "an approximation: texts of so many classes are guided by an image, those that "
            "zero-shot CLIP ranks highest; 0 for all, the method",
            low=0,
            high=MANY,
        ),
        "PREC": Option(
            "auto",
            "products of the attention: fp32, amp for bf16 (weights stay fp32), or auto for amp "
            "where bf16 is fast and D is at least 256",
            choices=("fp32", "amp", "auto"),
        ),
    }
    PROTOCOL = {"OPTIM.NAME": "adamw", "OPTIM.LR": 1e-3}
    prompts = "imagenet"
    transfers = True
    head: VisualGuidedAttention

    def tokens(self) -> VisualTokens:
        """Return the kind of spatial features, TRAINER.VTCLIP.VISUAL_TOKENS."""
        tokens: VisualTokens = self.options.VISUAL_TOKENS
        return tokens

    def build_head(self) -> VisualGuidedAttention:
        """Return the attention module at the width of the backbone.

        Raises:
            UserError: the heads do not divide the width, or the global features, of the joint
                space, are to stand among raw spatial ones.
        """
        options, dim = self.options, self.provider.embed_dim
        node = f"TRAINER.{self.option_node()}"
        if dim % options.N_HEADS:
            raise UserError(
                f"{node}.N_HEADS: {options.N_HEADS} does not divide {dim}, the width of "
                f"backbone {self.provider.backbone_name}."
            )
        if options.INCLUDE_GLOBAL and self.tokens() == "backbone":
            raise UserError(
                f"{node}.INCLUDE_GLOBAL: needs VISUAL_TOKENS joint, the space of the "
                "global features."
            )
        if options.SHORTLIST and options.SELF_ATTENTION and options.N_LAYERS > 1:
            raise UserError(
                f"{node}.SHORTLIST: in later layers the texts of all classes attend to each other; "
                "set it to 0, N_LAYERS to 1 or SELF_ATTENTION to False."
            )
        return VisualGuidedAttention(
            dim,
            dim if self.tokens() == "joint" else self.provider.backbone_dim,
            num_layers=options.N_LAYERS,
            num_heads=options.N_HEADS,
            self_attention=options.SELF_ATTENTION,
            ffn_ratio=options.FFN_RATIO if options.FFN else 0.0,
            norm=options.NORM,
            dropout=options.DROPOUT,
            zero_init=options.ZERO_INIT,
            residual_ratio=options.RESIDUAL_RATIO,
            residual_learnt=options.RESIDUAL_LEARNT,
        )

    def before_train(self) -> None:
        """Warn of a rate that is too high for the width; see the base class."""
        super().before_train()
        optim, dim = self.cfg.OPTIM, self.provider.embed_dim
        if optim.NAME == "adamw" and optim.LR * dim > STEEP:
            warn(
                f"Warning: OPTIM.LR {optim.LR:g} is high for D {dim}: where both make more than "
                f"{STEEP:g}, trials lost accuracy (docs/protocols.md); 0.001 was right at D 1280, "
                "as in --recipe fast-wide."
            )

    def logits(self, features: Features) -> Tensor:
        """Match images with their visual-guided texts, blended with zero-shot CLIP's logits."""
        weight, guided = self._clip_weight(), self.guided_logits(features)
        return torch.lerp(guided, self.zero_shot_logits(features), weight) if weight else guided

    def loss(self, features: Features, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy of :meth:`logits` and them, at the peak of MAX_PAIRS."""
        # other logits stay in fp32
        weight, other = self.blended_with(features)
        with self._precision():
            return self.head.cross_entropy(
                self.text_features,
                *self._tokens(features),
                label,
                self.scale * (1 - weight),
                offset=None if other is None else weight * other,
                max_pairs=self.options.MAX_PAIRS,
                shortlist=self.shortlist(features, label),
            )

    def blended_with(self, features: Features) -> tuple[float, Tensor | None]:
        """Return the share of other logits in those of training, and them [B, K]; 0 and None."""
        weight = self._clip_weight()
        return weight, self.zero_shot_logits(features) if weight else None

    def chooses_on_val(self) -> bool:
        """See :meth:`FrozenCLIPTrainer.chooses_on_val`."""
        return bool(self.options.SEARCH_WEIGHT)

    def fixed(self) -> dict[str, float]:
        """Return CLIP_LOGIT_WEIGHT."""
        return {"clip_logit_weight": float(self.options.CLIP_LOGIT_WEIGHT)}

    def search(self) -> Search | None:
        """Choose the weight on CLIP's own logits."""
        guided, labels = self.scores("val", self.guided_logits)
        zero_shot, _ = self.scores("val", self.zero_shot_logits)
        return grid_search(
            lambda clip_logit_weight: torch.lerp(guided, zero_shot, clip_logit_weight),
            labels,
            grid={"clip_logit_weight": WEIGHTS},
            reference=zero_shot,
        )

    def attention(self, features: Features, layer: int = -1) -> Tensor:
        """Return the weights of a cross-attention over the locations, [B, H, K, S].

        With INCLUDE_GLOBAL the key of the global features, no location, is left out, so that a row
        sums to less than 1.

        Raises:
            UserError: there are fewer layers.
        """
        layers = self.options.N_LAYERS
        if not -layers <= layer < layers:
            raise UserError(f"layer {layer}: the run has {layers}, counted from 0.")
        _, keys = self._tokens(features)
        with self._precision():
            weights = self.head.attention_weights(self.text_features, keys, layer)
        return weights[..., int(self.options.INCLUDE_GLOBAL) :]

    def moved_texts(self, features: Features) -> Tensor:
        """Return the visual-guided texts [B, K, D]."""
        _, keys = self._tokens(features)
        with self._precision():
            guided = self.head(self.text_features, keys)
        assert isinstance(guided, Tensor)  # no weights are asked for
        return guided

    def resolved_options(self) -> dict[str, Any]:
        """Return the options with the precision that PREC auto stands for here."""
        return {**self.options, "PREC": "amp" if self._amp() else "fp32"}

    def load_model(self, directory: StrPath, epoch: int | None = None) -> None:
        """Load the attention module; see the base class."""
        super().load_model(directory, epoch)
        if self.cfg.TRAINER.TRANSFER and self.options.SELF_ATTENTION:
            say(
                "TRAINER.VTCLIP.SELF_ATTENTION True: the texts attend to each other, so to a new "
                "class list; results depend on which classes are in it."
            )

    def zero_shot_logits(self, features: Features) -> Tensor:
        """Return zero-shot CLIP's logits [B, K]."""
        return cosine_logits(features.global_features, self.text_features, self.scale)

    def shortlist(self, features: Features, label: Tensor | None = None) -> Tensor | None:
        """Return the classes [B, M] that are matched with guided texts, None for all of them.

        Args:
            label: [B], in training, where the true class is always among them.
        """
        count = self.options.SHORTLIST
        if not 0 < count < len(self.text_features):
            return None
        return shortlist_of(self.zero_shot_logits(features), count, label)

    def guided_logits(self, features: Features) -> Tensor:
        """Return the logits [B, K] of the visual-guided texts, without the blend."""
        with self._precision():
            return self.head.logits(
                self.text_features,
                *self._tokens(features),
                self.scale,
                max_pairs=self.options.MAX_PAIRS,
                shortlist=self.shortlist(features),
            )

    def _tokens(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return global features and what the texts look at."""
        global_features, spatial_features = features.global_features, features.spatial_features
        assert spatial_features is not None  # tokens() names them
        if self.options.INCLUDE_GLOBAL:
            spatial_features = torch.cat([global_features.unsqueeze(1), spatial_features], dim=1)
        return global_features, spatial_features

    def _clip_weight(self) -> float:
        """Return the weight on zero-shot CLIP's logits: as chosen, else as configured."""
        return self.chosen("clip_logit_weight")

    def _precision(self) -> AbstractContextManager[Any]:
        """Return the arithmetic of the attention's products, TRAINER.VTCLIP.PREC."""
        return autocast(self.device, torch.bfloat16 if self._amp() else None)

    def _amp(self) -> bool:
        wanted = self.options.PREC
        worthwhile = bf16_is_fast(self.device) and self.provider.embed_dim >= WORTH_BF16
        return wanted == "amp" or (wanted == "auto" and worthwhile)
