"""The ensemble of prompts against its definition, class by class."""

from __future__ import annotations

import torch

from vtclip.methods.zero_shot import ensemble_texts


def test_prompts_count_alike_whatever_their_length() -> None:
    encoded = torch.tensor([[[3.0, 4.0], [0.0, 2.0]], [[0.0, 9.0], [0.0, 1.0]]])
    # (0.6, 0.8) and (0, 1) have the mean (0.3, 0.9), of length sqrt(0.9)
    expected = torch.tensor([[0.3 / 0.9**0.5, 0.9 / 0.9**0.5], [0.0, 1.0]])
    torch.testing.assert_close(ensemble_texts(encoded), expected)


def test_one_prompt_is_normalised() -> None:
    encoded = torch.tensor([[[3.0, 4.0], [0.0, -2.0]]])
    torch.testing.assert_close(ensemble_texts(encoded), torch.tensor([[0.6, 0.8], [0.0, -1.0]]))
