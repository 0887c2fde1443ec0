"""The interface of a backbone: both frozen encoders of a CLIP-like model."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from vtclip.image_features import Features

VisualTokens = Literal["joint", "backbone"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

LIGHT_PARAMETERS = 10_000_000


class TokenizedPrompts(NamedTuple):
    """Prompts as the text encoder reads them.

    Attributes:
        ids: [N, L], int64, padded with 0 to the longest of the N prompts.
        ends: [N], int64, the position of each end-of-text token.
    """

    ids: Tensor
    ends: Tensor


class Backbone(nn.Module, ABC):
    """A frozen CLIP-like model: images and prompts in, features out.

    A subclass sets the attributes and writes the abstract methods; it is registered by
    :func:`vtclip.backbones.register_backbone`. Its parameters never require a gradient. A text
    encoder that can be entered by token embeddings derives from :class:`PromptLearningBackbone`.

    Attributes:
        name: the name it was built by.
        embed_dim: D, width of the joint space.
        backbone_dim: C, width of the spatial features before the joint space.
        image_size: side of the square input, in pixels.
        mean, std: what the three channels (red, green, blue; 0 to 1) are normalised by.
        interpolation: how its images are resized: "bicubic", as CLIP's, "bilinear" or "nearest".
        token_kinds: the kinds of spatial features that it has; "joint" is not among them where
            global features are pooled by attention, so that no map takes one location to the texts.
        fingerprint: hexadecimal digest of the weights and of what else decides the features.
    """

    name: str
    embed_dim: int
    backbone_dim: int
    image_size: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    interpolation: str = "bicubic"
    token_kinds: tuple[VisualTokens, ...] = ("joint", "backbone")
    fingerprint: str

    @property
    @abstractmethod
    def logit_scale(self) -> Tensor:
        """Scale s of the cosine, already exponentiated (a scalar, about 100 for CLIP)."""

    @abstractmethod
    def encode_image(self, images: Tensor, tokens: VisualTokens | None = "joint") -> Features:
        """Encode normalised images.

        Args:
            images: [B, 3, image_size, image_size], normalised by `mean` and `std`.
            tokens: the kind of spatial features, one of `token_kinds`: "joint" for S tokens in the
                joint space, "backbone" for those before it, None for the global features alone.
        """

    @abstractmethod
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Encode N prompts to text features [N, D], not normalised.

        Raises:
            UserError: a prompt is longer than the text encoder's context.
        """

    @property
    def is_light(self) -> bool:
        """Whether it has fewer than 10 million parameters.

        A light backbone stays in fp32 under FEATURES.PRECISION auto, and its images are read
        without worker processes: encoding them takes less time than a worker takes to start.
        """
        return sum(parameter.numel() for parameter in self.parameters()) < LIGHT_PARAMETERS


class PromptLearningBackbone(Backbone):
    """A backbone whose text encoder can be entered by token embeddings.

    Prompt learning (CoOp) trains some of the embeddings: gradients flow through
    :meth:`encode_embeddings` to what is given. :meth:`encode_text` is made of the three steps.
    """

    @abstractmethod
    def tokenize(self, prompts: Sequence[str]) -> TokenizedPrompts:
        """Turn N prompts into token ids.

        Raises:
            UserError: a prompt is longer than the text encoder's context.
        """

    @abstractmethod
    def embed(self, ids: Tensor) -> Tensor:
        """Look up token embeddings: ids [N, L] to [N, L, W]."""

    @abstractmethod
    def encode_embeddings(self, embeddings: Tensor, ends: Tensor) -> Tensor:
        """Encode prompts given as token embeddings.

        Args:
            embeddings: [N, L, W], L at most the context length.
            ends: [N], position of each end-of-text token.

        Returns:
            Text features [N, D], not normalised.
        """

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Encode N prompts to text features [N, D], not normalised.

        The prompts are cut to the longest of them: in a causal text encoder what follows the
        end-of-text token has no effect on it.
        """
        tokens = self.tokenize(prompts)
        device = self.logit_scale.device
        return self.encode_embeddings(self.embed(tokens.ids.to(device)), tokens.ends.to(device))


def fingerprint_of(state_dict: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors: names, types, shapes and values, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
