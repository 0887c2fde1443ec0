"""CoOp (arXiv 2109.01134): learnt context words through the frozen text encoder."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from vtclip.backbones import PromptLearningBackbone
from vtclip.config import Option
from vtclip.engine import FrozenCLIPTrainer
from vtclip.errors import UserError
from vtclip.feature_provider import ImageProvider
from vtclip.features import Features
from vtclip.methods.coop import PromptLearner
from vtclip.methods.zero_shot import cosine_logits
from vtclip.screen import say


@TRAINER_REGISTRY.register()
class CoOp(FrozenCLIPTrainer):
    """Trains the context; its switches are TRAINER.COOP, named as in CoOp."""

    # named as in CoOp
    OPTIONS = {
        "N_CTX": Option(16, "number of context vectors", low=1, high=1000),
        "CTX_INIT": Option("", "words to start from, in place of N_CTX random vectors"),
        "CSC": Option(False, "one context per class; not with CTX_INIT, as in CoOp"),
        "CLASS_TOKEN_POSITION": Option(
            "end", "where the class name stands", choices=("end", "middle", "front")
        ),
    }
    PROTOCOL = {"OPTIM.NAME": "sgd", "OPTIM.LR": 2e-3}
    head: PromptLearner

    @classmethod
    def transfer_obstacle(cls, cfg: CfgNode) -> str:
        """Return why contexts of single classes do not transfer, "" for a shared context."""
        if cfg.TRAINER.COOP.CSC and not cfg.TRAINER.COOP.CTX_INIT:
            return "TRAINER.COOP.CSC True learnt one context for each class."
        return ""

    def build_head(self) -> PromptLearner:
        """Return the prompt learner.

        Raises:
            UserError: there is no text encoder, it cannot be entered by embeddings, a prompt is too
                long for it, or CTX_INIT has no words.
        """
        if not isinstance(self.provider, ImageProvider):
            raise UserError(
                "DATASET.FEATURE_BANK: has no text encoder, which CoOp trains through; use images."
            )
        self._texts: Tensor | None = None
        backbone = self.provider.encoding.backbone
        if not isinstance(backbone, PromptLearningBackbone):
            raise UserError(
                f"MODEL.BACKBONE.NAME: the text encoder of {backbone.name} takes texts only, and "
                "CoOp learns token embeddings; choose another backbone or trainer."
            )
        self.backbone: PromptLearningBackbone = backbone
        names = [name.replace("_", " ") for name in self.classnames]
        words, context = self._initial_context(len(names))
        print(f"Number of context tokens: {context.shape[-2]}")
        # the context vectors take the place of the first tokens of the words
        tokens = self.backbone.tokenize([f"{words} {name}." for name in names])
        self.ends = tokens.ends.to(self.device)
        return PromptLearner(
            context,
            self._embed(tokens.ids),
            # a prompt is start, words, end
            [int(end) - 1 for end in self.backbone.tokenize(names).ends],
            self.options.CLASS_TOKEN_POSITION,
        )

    def _initial_context(self, n_classes: int) -> tuple[str, Tensor]:
        """Return the words before the class name, and the context in their place.

        It is [M, W], or [K, M, W] with one context per class. As in CoOp, M is the number of words
        of CTX_INIT, whose context is shared by all classes whatever CSC says.

        Raises:
            UserError: CTX_INIT has no words.
        """
        options = self.options
        if not options.CTX_INIT:
            shape = (n_classes, options.N_CTX) if options.CSC else (options.N_CTX,)
            width = self._embed(torch.zeros(1, 1, dtype=torch.int64)).shape[-1]
            # one token each
            words = ["X"] * options.N_CTX
            return " ".join(words), nn.init.normal_(torch.empty(*shape, width), std=0.02)
        words = options.CTX_INIT.replace("_", " ").split()
        if not words:
            raise UserError(
                f"TRAINER.COOP.CTX_INIT: {options.CTX_INIT!r} has no words; give some, such as "
                "a_photo_of_a, or leave it empty for random vectors."
            )
        if options.CSC:
            say("TRAINER.COOP.CSC: no effect beside CTX_INIT, whose context all classes share")
        text = " ".join(words)
        return text, self._embed(self.backbone.tokenize([text]).ids)[0, 1 : 1 + len(words)]

    def _embed(self, ids: Tensor) -> Tensor:
        return self.backbone.embed(ids.to(self.device)).cpu()

    def set_model_mode(self, mode: str = "train", names: str | Iterable[str] | None = None) -> None:
        """Switch the mode; outside training the prompts are encoded once, not once per batch."""
        super().set_model_mode(mode, names)
        self._texts = None
        if mode != "train":
            with torch.no_grad():
                self._texts = self.encode_prompts()

    def encode_prompts(self) -> Tensor:
        """Return the text features [K, D] of the prompts as they are now."""
        return self.backbone.encode_embeddings(self.head(), self.ends)

    def logits(self, features: Features) -> Tensor:
        """Compare the images with the learnt prompts, [B, K]."""
        texts = self.encode_prompts() if self._texts is None else self._texts
        return cosine_logits(features.global_features, texts, self.scale)

    def moved_texts(self, features: Features) -> Tensor:
        """Return the learnt prompts, the same for every image, [B, K, D]."""
        return self.encode_prompts().expand(len(features), -1, -1)
