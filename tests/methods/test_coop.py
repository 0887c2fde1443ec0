from __future__ import annotations

import pytest
import torch
from torch import nn

from vtclip.backbones import build_backbone
from vtclip.methods.coop import PromptLearner, assemble, token_order

NAMES = ["forest", "hot air balloon", "t-shirt 2"]


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ("end", ["s", "v1", "v2", "v3", "name", "dot", "end"]),
        ("middle", ["s", "v1", "name", "v2", "v3", "dot", "end"]),
        ("front", ["s", "name", "v1", "v2", "v3", "dot", "end"]),
    ],
)
def test_order_of_one_prompt(position: str, expected: list[str]) -> None:
    tokens = ["s", "v1", "v2", "v3", "name", "dot", "end"]
    (order,) = token_order(3, [1], 3, position).tolist()
    assert [tokens[place] for place in order] == expected


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_assembly_against_a_direct_construction(position: str, per_class: bool) -> None:
    torch.manual_seed(0)
    lengths, n_rest, n_ctx, width = [1, 3, 2], 6, 5, 4
    start, rest = torch.randn(3, 1, width), torch.randn(3, n_rest, width)
    context = torch.randn(3, n_ctx, width) if per_class else torch.randn(n_ctx, width)
    found = assemble(start, context, rest, token_order(n_ctx, lengths, n_rest, position))
    for k, length in enumerate(lengths):
        words = context[k] if per_class else context
        name, tail = rest[k][:length], rest[k][length:]
        parts = {
            "end": [words, name],
            "middle": [words[:2], name, words[2:]],
            "front": [name, words],
        }[position]
        assert found[k].equal(torch.cat([start[k], *parts, tail]))


@pytest.mark.parametrize(
    ("position", "template"),
    [("end", "a photo of a {}."), ("middle", "a photo {} of a."), ("front", "{} a photo of a.")],
)
def test_words_as_context_give_the_prompt_of_these_words(position: str, template: str) -> None:
    backbone = build_backbone("tiny")
    words = backbone.tokenize(["a photo of a"])
    tokens = backbone.tokenize([f"X X X X {name}." for name in NAMES])
    lengths = [int(end) - 1 for end in backbone.tokenize(NAMES).ends]
    context = backbone.embed(words.ids)[0, 1:5]
    learner = PromptLearner(context, backbone.embed(tokens.ids), lengths, position)
    found = backbone.encode_embeddings(learner(), tokens.ends)
    expected = backbone.encode_text([template.format(name) for name in NAMES])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_checkpoint_holds_the_context_alone() -> None:
    learner = PromptLearner(torch.randn(2, 4), torch.randn(3, 8, 4), [1, 1, 2], "end")
    assert list(learner.state_dict()) == ["ctx"]
    assert isinstance(learner.ctx, nn.Parameter)
