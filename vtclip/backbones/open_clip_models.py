"""Models of open_clip (Cherti et al., arXiv 2212.07143) as backbones.

Their image towers are in open_clip_images.py. Texts are encoded as open_clip does it; a causal text
tower that ends at the end-of-text token is run at the length of the longest prompt, and can be
entered by embeddings. The bias of a SigLIP (arXiv 2303.15343) is the same for all classes of an
image, which a softmax over classes does not see, so that it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vtclip.backbones.base import (
    Backbone,
    PromptLearningBackbone,
    TokenizedPrompts,
    VisualTokens,
)
from vtclip.backbones.open_clip_images import image_encoder
from vtclip.backbones.open_clip_source import Loaded, load, structure_of
from vtclip.backbones.optional import (
    PROBE,
    fingerprint,
    interpolation_of,
    needs_extra,
    one_line,
    say_if_squeezed,
)
from vtclip.backbones.registry import Activation
from vtclip.errors import UserError, shortened
from vtclip.image_features import Features

# of the tokenizer of CLIP's texts; others come from transformers
OWN_TOKENIZER = "SimpleTokenizer"


def open_clip_backbone(name: str, activation: Activation = "auto") -> Backbone:
    """Build the backbone of a name; see :func:`vtclip.backbones.open_clip_source.load`.

    Raises:
        UserError: a package is not installed, or there is no such model or weights.
    """
    with needs_extra(name, "open-clip"):
        import open_clip

        loaded = load(name, activation)
    with needs_extra(name, "hf"), one_line(name, "its tokenizer"):
        tokenizer = open_clip.get_tokenizer(loaded.model_id)
    tower = _text_tower(loaded.model)
    if _can_be_entered(tower) and type(tokenizer).__name__ == OWN_TOKENIZER:
        return PromptedOpenClipBackbone(name, loaded, tokenizer)
    return OpenClipBackbone(name, loaded, tokenizer)


def _text_tower(model: Any) -> Any:
    """Return the module that has the parts of the text tower, which may be the model itself."""
    return getattr(model, "text", model)


def _can_be_entered(tower: Any) -> bool:
    pooling = getattr(tower, "text_pool_type", getattr(tower, "pool_type", ""))
    return (
        getattr(tower, "attn_mask", None) is not None
        and getattr(tower, "cls_emb", None) is None
        and pooling == "argmax"
    )


class OpenClipBackbone(Backbone):
    """A model of open_clip, in fp32.

    Args:
        name: what it is called in results.
        loaded: the model; its image tower is taken out of it.
        tokenizer: open_clip's for it.

    Raises:
        UserError: the image tower is of an unknown kind, or takes no square images.
    """

    def __init__(self, name: str, loaded: Loaded, tokenizer: Any) -> None:
        super().__init__()
        self.name = name
        model: Any = loaded.model
        self.model: Any = model
        self.tokenizer = tokenizer
        self.context_length: int = model.context_length
        structure = [structure_of(loaded.config), self.context_length]
        self.fingerprint = fingerprint(self.model.state_dict(), structure, tokenizer([PROBE]))
        self._set_preprocessing(loaded)
        encoder = image_encoder(self.model.visual)
        if encoder is None:
            raise UserError(
                f"MODEL.BACKBONE.NAME: {name}: an image tower of the kind "
                f"{type(self.model.visual).__name__} is not known here; take another model."
            )
        self.model.visual = nn.Identity()
        self.visual = encoder
        self.token_kinds = getattr(encoder, "token_kinds", Backbone.token_kinds)
        with torch.no_grad():
            probe = self.visual(torch.zeros(1, 3, self.image_size, self.image_size), "backbone")
        self.embed_dim = probe.global_features.shape[-1]
        self.backbone_dim = probe.spatial_features.shape[-1]

    def _set_preprocessing(self, loaded: Loaded) -> None:
        size = self.model.visual.image_size
        sides = {size} if isinstance(size, int) else set(size)
        if len(sides) != 1:
            raise UserError(
                f"MODEL.BACKBONE.NAME: {self.name}: takes images of {tuple(size)} pixels, no "
                "squares; take another model."
            )
        (self.image_size,) = sides
        told = loaded.preprocessing
        red, green, blue = (float(value) for value in told["mean"])
        self.mean = (red, green, blue)
        red, green, blue = (float(value) for value in told["std"])
        self.std = (red, green, blue)
        self.interpolation = interpolation_of(self.name, told["interpolation"])
        if told["resize_mode"] != "shortest":
            say_if_squeezed(self.name)

    @property
    def logit_scale(self) -> Tensor:
        """Scale of the cosine, exponentiated."""
        return self.model.logit_scale.exp().reshape(())

    def encode_image(self, images: Tensor, tokens: VisualTokens | None = "joint") -> Features:
        """Encode images [B, 3, image_size, image_size]; see :class:`Backbone`."""
        return self.visual(images, tokens)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Encode N prompts; see :class:`Backbone`."""
        return self.model.encode_text(self.token_ids(prompts).to(self.logit_scale.device))

    def token_ids(self, prompts: Sequence[str]) -> Tensor:
        """Return the ids [N, context length] of prompts.

        Raises:
            UserError: a prompt is longer than the context.
        """
        ids = self.tokenizer(list(prompts))
        # a text that was cut differs where there is room for more of it
        length = self.context_length
        roomy = self.tokenizer(list(prompts), context_length=2 * length)
        whole = (roomy[:, :length] == ids).all(1) & (roomy[:, length:] == roomy[:, -1:]).all(1)
        # a class token behind the padding moves with the length
        if not whole.all() and not getattr(self.tokenizer, "tokenizer_mode", ""):
            prompt = prompts[int((~whole).nonzero()[0])]
            raise UserError(
                f"prompt {shortened(prompt)!r}: longer than the {length} tokens of {self.name}; "
                "shorten the class name or DATASET.TEMPLATE."
            )
        return ids


class PromptedOpenClipBackbone(PromptLearningBackbone, OpenClipBackbone):
    """A model of open_clip with CLIP's text tower; see :class:`OpenClipBackbone`."""

    def __init__(self, name: str, loaded: Loaded, tokenizer: Any) -> None:
        OpenClipBackbone.__init__(self, name, loaded, tokenizer)

    def tokenize(self, prompts: Sequence[str]) -> TokenizedPrompts:
        """Turn prompts into token ids, cut to the longest; see :class:`PromptLearningBackbone`."""
        ids = self.token_ids(prompts)
        # the end-of-text token has the highest id of the vocabulary
        ends = ids.argmax(dim=1)
        return TokenizedPrompts(ids[:, : int(ends.max()) + 1], ends)

    def embed(self, ids: Tensor) -> Tensor:
        """Look up token embeddings; see :class:`PromptLearningBackbone`."""
        return _text_tower(self.model).token_embedding(ids)

    def encode_embeddings(self, embeddings: Tensor, ends: Tensor) -> Tensor:
        """Encode prompts given as embeddings; see :class:`PromptLearningBackbone`."""
        tower = _text_tower(self.model)
        length = embeddings.shape[1]
        x = embeddings + tower.positional_embedding[:length]
        x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
        x = tower.ln_final(x)[torch.arange(len(x), device=x.device), ends]
        projection = tower.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection
