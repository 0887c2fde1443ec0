"""Pre-train the `tiny` CLIP on rendered pictures and write its weights.

    python -m scripts.tiny.pretrain

with default arguments writes `vtclip/backbones/weights/tiny.pt`. See docs/tiny.md.
"""

import argparse
import math
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from vtclip.backbones.clip_package import CLIP, SimpleTokenizer, tokenize

from .captions import COLOUR_NAMES, NO_GLYPH, true_of
from .checkpoint import save_state
from .glyphs import glyph_bank
from .render import RESOLUTION, render
from .textures import TEXTURES

WEIGHTS = Path(__file__).resolve().parents[2] / "vtclip" / "backbones" / "weights" / "tiny.pt"

EMBED_DIM = 128
VISION_LAYERS = (1, 2, 4, 2)
VISION_WIDTH = 8
TEXT_WIDTH = 128
TEXT_LAYERS = 1
CONTEXT_LENGTH = 77
VOCABULARY = 49408
TOKEN_SCALE = 0.02
FIRST_WORD, LAST_WORD = 320, 40000  # common words of the vocabulary, which lists them by frequency

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
WORD_TEMPLATES = ("a photo of a {}.", "{}", "a picture of the {}.", "a drawing of a {}.")


def build_network() -> CLIP:
    """A small CLIP with frozen token embeddings of random signs.

    Frozen signs keep every word of the vocabulary distinct, seen in a caption or not, and
    compress to a bit or two each.
    """
    model = CLIP(
        embed_dim=EMBED_DIM,
        image_resolution=RESOLUTION,
        vision_layers=VISION_LAYERS,
        vision_width=VISION_WIDTH,
        vision_patch_size=None,
        context_length=CONTEXT_LENGTH,
        vocab_size=VOCABULARY,
        transformer_width=TEXT_WIDTH,
        transformer_heads=TEXT_WIDTH // 64,
        transformer_layers=TEXT_LAYERS,
    )
    signs = torch.randint(2, model.token_embedding.weight.shape) * 2 - 1
    model.token_embedding.weight.data = signs * TOKEN_SCALE
    model.token_embedding.weight.requires_grad_(False)
    model.visual.to(memory_format=torch.channels_last)  # three times as fast on a CPU
    return model


def normalise(images: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] to the network's input, CLIP's mean and standard deviation."""
    scaled = images.float().div_(255).sub_(MEAN).div_(STD)
    return scaled.contiguous(memory_format=torch.channels_last)


def encode_texts(model: CLIP, texts: list[str]) -> Tensor:
    """Normalised text features, [len(texts), D]; padding beyond the longest text is cut off."""
    tokens = tokenize(texts, context_length=CONTEXT_LENGTH, truncate=True)
    length = int(tokens.argmax(dim=1).max()) + 1
    return F.normalize(model.encode_text(tokens[:, :length]), dim=1)


def contrastive_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Symmetric cross-entropy with several positives a row.

    Args:
        logits: pictures by captions, [B, B].
        positive: which caption is true of which picture, bool [B, B], true on the diagonal.
    """
    target = positive.float()
    per_image = -(target / target.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    per_text = -(target / target.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (per_image + per_text) / 2


class AttributeHeads(nn.Module):
    """Linear classifiers of what a picture shows, on its features; dropped after training.

    Their dense signal teaches the image encoder much faster than a batch's captions alone, of
    which each names one of 1,565 glyphs.
    """

    def __init__(self) -> None:
        super().__init__()
        sizes = (len(glyph_bank().names), len(COLOUR_NAMES), len(COLOUR_NAMES), len(TEXTURES))
        self.heads = nn.ModuleList(nn.Linear(EMBED_DIM, size) for size in sizes)

    def loss(self, features: Tensor, shown: Tensor) -> Tensor:
        """Sum of cross-entropies; features [B, D], shown [B, 4] with NO_GLYPH ignored."""
        losses = [
            F.cross_entropy(head(features), shown[:, column], ignore_index=NO_GLYPH)
            for column, head in enumerate(self.heads)
        ]
        return torch.stack(losses).sum()


@cache
def _vocabulary() -> dict[int, str]:
    vocabulary: dict[int, str] = SimpleTokenizer().decoder
    return vocabulary


def random_words(n: int, rng: torch.Generator) -> list[str]:
    """Different whole words of the tokenizer's vocabulary, none of them tied to a picture."""
    decoder = _vocabulary()
    rows = torch.randperm(LAST_WORD - FIRST_WORD, generator=rng)[: 4 * n] + FIRST_WORD
    words = [decoder[row] for row in rows.tolist()]
    return [w.removesuffix("</w>") for w in words if w.endswith("</w>") and w[:-4].isalpha()][:n]


def word_loss(model: CLIP, n_words: int, rng: torch.Generator) -> Tensor:
    """Contrast between two templates around the same random words.

    Captions of rendered pictures use a few hundred words. This keeps the text features of all
    other words apart, whatever the template around them.
    """
    words = random_words(n_words, rng)
    first, second = torch.randperm(len(WORD_TEMPLATES), generator=rng)[:2].tolist()
    texts = [WORD_TEMPLATES[t].format(word) for t in (first, second) for word in words]
    one, two = encode_texts(model, texts).chunk(2)
    logits = model.logit_scale.exp().detach() * one @ two.T
    return contrastive_loss(logits, torch.eye(len(words), dtype=torch.bool))


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 5 % of the steps, then a cosine to zero."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def parameter_groups(
    model: CLIP, heads: AttributeHeads, weight_decay: float
) -> list[dict[str, object]]:
    """Matrices and kernels decay; gains, biases and the temperature do not."""
    trained = [p for p in (*model.parameters(), *heads.parameters()) if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


@torch.no_grad()
def settle_batch_norm(model: CLIP, batches: int, batch_size: int, rng: torch.Generator) -> None:
    """Replace batch norm's running statistics by plain means under the final weights."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # None: cumulative mean
    model.train()
    for _ in range(batches):
        model.encode_image(normalise(render(batch_size, rng).images))
    model.eval()


def losses(
    model: CLIP, heads: AttributeHeads, args: argparse.Namespace, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Loss of a fresh batch, and the share of its pictures whose best caption is true."""
    batch = render(args.batch_size, rng)
    raw_features = model.encode_image(normalise(batch.images))
    text_features = encode_texts(model, batch.captions)
    logits = model.logit_scale.exp() * F.normalize(raw_features, dim=1) @ text_features.T
    positive = true_of(batch.shown, batch.said)
    loss = contrastive_loss(logits, positive)
    loss = loss + args.head_weight * heads.loss(raw_features, batch.shown)
    loss = loss + args.word_weight * word_loss(model, args.words, rng)
    hit = positive[torch.arange(len(positive)), logits.argmax(1)].float().mean()
    return loss, hit


def pretrain(args: argparse.Namespace) -> CLIP:
    """The whole run: network, steps, settled batch norm."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = torch.Generator().manual_seed(args.seed)
    model = build_network().train()
    heads = AttributeHeads()
    optimizer = torch.optim.AdamW(
        parameter_groups(model, heads, args.weight_decay), lr=args.lr, betas=(0.9, 0.98)
    )
    mean_hit = 0.0
    with tqdm(range(args.steps), mininterval=5) as progress:
        for step in progress:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, args.steps, args.lr)
            loss, hit = losses(model, heads, args, rng)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            keep = min(0.98, step / (step + 1))
            mean_hit = keep * mean_hit + (1 - keep) * hit.item()
            progress.set_postfix(loss=f"{loss.item():.3f}", hit=f"{mean_hit:.3f}", refresh=False)
    settle_batch_norm(model, args.settle_batches, args.batch_size, rng)
    return model


def build_parser() -> argparse.ArgumentParser:
    """Command line; the defaults are those of the committed weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--words", type=int, default=32, help="random words a step")
    parser.add_argument("--word-weight", type=float, default=0.2)
    parser.add_argument("--head-weight", type=float, default=0.3)
    parser.add_argument("--settle-batches", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def main() -> None:
    """Train and write the weights."""
    args = build_parser().parse_args()
    model = pretrain(args)
    save_state(model.state_dict(), args.output)
    print(f"{args.output}: {args.output.stat().st_size / 2**20:.2f} MB")


if __name__ == "__main__":
    main()
