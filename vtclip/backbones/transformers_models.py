"""CLIP (arXiv 2103.00020) and SigLIP (arXiv 2303.15343) of transformers as backbones.

Read from a folder as `save_pretrained` writes it, or from the hub; no code of either is run. The
functions of transformers 4 return tensors where those of 5 return records; both are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vtclip.backbones.base import Backbone, VisualTokens
from vtclip.backbones.families import family_name
from vtclip.backbones.optional import (
    PROBE,
    fingerprint,
    interpolation_of,
    needs_extra,
    one_line,
    say_if_squeezed,
)
from vtclip.errors import UserError, shortened
from vtclip.files import user_path
from vtclip.image_features import Features

# by the name of their configuration
CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel"}
# of PIL, which preprocessors write down
RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}
# what says where a configuration is from
NOT_STRUCTURE = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


def transformers_backbone(name: str) -> Backbone:
    """Build the backbone of a name, `hf:FOLDER` or `hf:ORGANISATION/NAME`.

    Raises:
        UserError: transformers is not installed, or there is no such CLIP or SigLIP.
    """
    parts = family_name(name)
    assert parts is not None
    is_path = parts.path == parts.rest
    place = str(user_path(parts.path, "MODEL.BACKBONE.NAME")) if is_path else parts.rest
    if is_path and not Path(place).is_dir():
        raise UserError(
            f"MODEL.BACKBONE.NAME: {name}: {place} is no folder; name one as save_pretrained "
            "writes it."
        )
    with needs_extra(name, "hf"):
        import transformers

        with one_line(name, "its configuration"):
            config = transformers.AutoConfig.from_pretrained(place)
        if config.model_type not in CLASSES:
            raise UserError(
                f"MODEL.BACKBONE.NAME: {name}: a model of the kind {config.model_type}, where "
                f"{' and '.join(CLASSES)} are known here; take another model."
            )
        with one_line(name, "the model"):
            model, told = getattr(transformers, CLASSES[config.model_type]).from_pretrained(
                place, output_loading_info=True
            )
        _refuse_gaps(name, told)
        with one_line(name, "its tokenizer"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(place)
        with one_line(name, "its preprocessing"):
            processor = transformers.AutoImageProcessor.from_pretrained(place).to_dict()
    return TransformersBackbone(name, model, tokenizer, processor)


def _refuse_gaps(name: str, told: Mapping[str, Any]) -> None:
    """Refuse weights that leave a part of the model as it was drawn."""
    for kind in ("missing_keys", "mismatched_keys"):
        keys = sorted(map(str, told.get(kind, ())))
        if keys:
            raise UserError(
                f"MODEL.BACKBONE.NAME: {name}: its weights do not fit ({kind.replace('_', ' ')}: "
                f"{shortened(', '.join(keys))}); take the weights of an unchanged model."
            )


def pooled(output: Any) -> Tensor:
    """Return the features that a function of transformers gives, as a tensor or in a record."""
    return output if isinstance(output, Tensor) else output.pooler_output


class TransformersBackbone(Backbone):
    """A CLIPModel or SiglipModel, in fp32.

    Args:
        name: what it is called in results.
        model: of transformers.
        tokenizer: of transformers.
        processor: the preprocessing of images as its file says it.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, processor: Mapping[str, Any]) -> None:
        super().__init__()
        self.name = name
        self.model: Any = model.float().eval()
        self.tokenizer = tokenizer
        config = model.config
        self.is_siglip: bool = config.model_type == "siglip"
        self.context_length: int = config.text_config.max_position_embeddings
        self.image_size = config.vision_config.image_size
        self.backbone_dim = config.vision_config.hidden_size
        self.embed_dim = self.backbone_dim if self.is_siglip else config.projection_dim
        self.token_kinds = ("backbone",) if self.is_siglip else Backbone.token_kinds
        red, green, blue = (float(value) for value in processor["image_mean"])
        self.mean = (red, green, blue)
        red, green, blue = (float(value) for value in processor["image_std"])
        self.std = (red, green, blue)
        resample = processor.get("resample", 3)
        self.interpolation = interpolation_of(name, RESAMPLING.get(int(resample), str(resample)))
        if "shortest_edge" not in (processor.get("size") or {}):
            say_if_squeezed(name)
        structure = {k: v for k, v in config.to_dict().items() if k not in NOT_STRUCTURE}
        for part in ("text_config", "vision_config"):
            structure[part] = {k: v for k, v in structure[part].items() if k not in NOT_STRUCTURE}
        ids = torch.tensor(tokenizer([PROBE])["input_ids"])
        self.fingerprint = fingerprint(self.model.state_dict(), structure, ids)

    @property
    def logit_scale(self) -> Tensor:
        """Scale of the cosine, exponentiated."""
        return self.model.logit_scale.exp().reshape(())

    def encode_image(self, images: Tensor, tokens: VisualTokens | None = "joint") -> Features:
        """Encode images [B, 3, image_size, image_size]; see :class:`Backbone`."""
        found = self.model.vision_model(pixel_values=images)
        if self.is_siglip:
            # normalised, and without a class token
            spatial = None if tokens is None else found.last_hidden_state
            return Features(found.pooler_output, spatial)
        features = self.model.visual_projection(found.pooler_output)
        if tokens is None:
            return Features(features)
        spatial = self.model.vision_model.post_layernorm(found.last_hidden_state[:, 1:])
        return Features(
            features, self.model.visual_projection(spatial) if tokens == "joint" else spatial
        )

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Encode N prompts; see :class:`Backbone`."""
        device = self.logit_scale.device
        tokens = {key: value.to(device) for key, value in self.token_ids(prompts).items()}
        return pooled(self.model.get_text_features(**tokens))

    def token_ids(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Return the arguments of the text tower for N prompts, `input_ids` [N, L] among them.

        SigLIP was trained on texts padded to its whole context, and without a mask.

        Raises:
            UserError: a prompt is longer than the context.
        """
        rows = self.tokenizer(list(prompts))["input_ids"]
        lengths = torch.tensor([len(row) for row in rows])
        if int(lengths.max()) > self.context_length:
            raise UserError(
                f"prompt {shortened(prompts[int(lengths.argmax())])!r}: longer than the "
                f"{self.context_length} tokens of {self.name}; shorten the class name or "
                "DATASET.TEMPLATE."
            )
        found = self.tokenizer(
            list(prompts),
            padding="max_length" if self.is_siglip else True,
            max_length=self.context_length,
            truncation=True,
            return_tensors="pt",
        )
        kept = ("input_ids",) if self.is_siglip else ("input_ids", "attention_mask")
        return {key: found[key] for key in kept}
