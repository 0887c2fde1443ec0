"""Small models of open_clip and transformers with random weights, in folders of their own."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
# with tokens of single letters
SHORT_TEXT = {"context_length": 40, "vocab_size": 64, "width": 64, "heads": 2, "layers": 2}
VIT = {"layers": 2, "width": 48, "head_width": 16, "patch_size": 8, "image_size": 32}
SIGLIP_SCALE = 112.25


def timm_tower(name: str, pool: str, proj: str | None = None) -> dict[str, Any]:
    return {"timm_model_name": name, "timm_pool": pool, "timm_proj": proj, "image_size": 160}


OPEN_CLIP: dict[str, dict[str, Any]] = {
    "resnet": {
        "embed_dim": 32,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64},
        "text_cfg": TEXT,
    },
    "vit": {"embed_dim": 32, "vision_cfg": VIT, "text_cfg": TEXT},
    "vit-quickgelu": {"embed_dim": 32, "quick_gelu": True, "vision_cfg": VIT, "text_cfg": TEXT},
    "vit-of-mean": {
        "embed_dim": 32,
        "vision_cfg": {**VIT, "pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True},
        "text_cfg": {**TEXT, "proj_bias": True},
        "custom_text": True,
    },
    "timm-vit": {
        "embed_dim": 24,
        "vision_cfg": timm_tower("test_vit", "token"),
        "text_cfg": TEXT,
        "custom_text": True,
    },
    "timm-cnn": {
        "embed_dim": 24,
        "vision_cfg": timm_tower("test_efficientnet", "avg"),
        "text_cfg": TEXT,
    },
    "siglip": {
        "embed_dim": 64,
        "init_logit_scale": math.log(SIGLIP_SCALE),
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": timm_tower("test_vit", "map", "none"),
        "text_cfg": {
            **SHORT_TEXT,
            "no_causal_mask": True,
            "pool_type": "last",
            "proj_bias": True,
            "hf_tokenizer_name": "beside the weights",
            "tokenizer_kwargs": {"clean": "canonicalize"},
        },
    },
}
HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"}


def write_tokenizer(folder: Path, pad: str = "</s>") -> Any:
    """Write a tokenizer of single letters, padded as SigLIP's is."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = ["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz0123456789.,"]
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    whole = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, eos_token="</s>", unk_token="<unk>"
    )
    whole.save_pretrained(folder)
    return whole


def write_open_clip(kind: str, folder: Path) -> Any:
    """Write a model as a folder that open_clip reads, and return open_clip's own."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    preprocessing = HALF if kind == "siglip" else {}
    content = {"model_cfg": OPEN_CLIP[kind], "preprocess_cfg": preprocessing}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    if kind == "siglip":
        write_tokenizer(folder)
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False).eval()
    for name, value in model.state_dict().items():
        # some start at zero, and so would hide mistakes
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and not value.any():
            value.normal_(std=0.1)
        elif name == "visual.attnpool.positional_embedding":
            # else all locations look alike
            value.mul_(20)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


def write_transformers(kind: str, folder: Path) -> Any:
    """Write "clip" or "siglip" as transformers does, and return its own model."""
    import transformers

    text = {
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 64,
        "max_position_embeddings": 40,
        "eos_token_id": 1,
        "pad_token_id": 1,
        "bos_token_id": 0,
    }
    vision = {
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    sides = {"height": 32, "width": 32}
    torch.manual_seed(0)
    if kind == "clip":
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
        model = transformers.CLIPModel(config)
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=sides)
    else:
        config = transformers.SiglipConfig(
            text_config={**text, "projection_size": 48}, vision_config=vision
        )
        model = transformers.SiglipModel(config)
        model.logit_scale.data.fill_(math.log(SIGLIP_SCALE))
        processor = transformers.SiglipImageProcessor(size=sides)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    write_tokenizer(folder)
    return model
