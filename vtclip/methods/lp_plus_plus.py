"""LP++ (Huang et al., CVPR 2024): a linear probe plus texts, one learnt factor per class.

Logits are w_k . g + b_k + a_k (t_k . g), without CLIP's scale. The classifier w, b takes a step of
gradient descent with momentum on all support images in each epoch, the factors a take a plain step
in every tenth; the rates follow from the features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vtclip.methods.class_counts import class_counts

# the factor of the mean similarity that a starts at
START = 250.0
MOMENTUM = 0.9
# epochs between the steps of a
INTERVAL = 10


@dataclass(frozen=True)
class State:
    """What is learnt: weight w [K, D], bias b [K], and alpha, a [K]."""

    weight: Tensor
    bias: Tensor
    alpha: Tensor

    def logits(self, g: Tensor, text_features: Tensor) -> Tensor:
        """Return w_k . g + b_k + a_k (t_k . g), [B, K], of normalised [B, D] and [K, D]."""
        return F.linear(g, self.weight, self.bias) + self.alpha * (g @ text_features.T)


def starting_state(support: Tensor, labels: Tensor, text_features: Tensor) -> State:
    """Return w_k = the sum of the features of the class, b = 0 and a_k = 250 times one mean.

    That is the mean over the classes of the mean t_k . g of the images of the class.

    Args:
        support: G [N, D], normalised.
        labels: [N], int64; each class is among them.
        text_features: T [K, D], normalised.
    """
    weight = torch.zeros_like(text_features).index_add(0, labels, support)
    similar = (weight * text_features).sum(dim=1) / class_counts(labels, len(weight))
    alpha = START * similar.mean()
    return State(weight, weight.new_zeros(len(weight)), alpha.repeat(len(weight)))


def weight_rate(support: Tensor) -> float:
    """Return the rate of w and b, 4 N / lambda_max(G' G), of G [N, D]."""
    # G' G and G G' have the same eigenvalues but zeros
    wide = support.double() if len(support) < support.shape[1] else support.double().T
    return 4 * len(support) / float(torch.linalg.eigvalsh(wide @ wide.T)[-1])


def alpha_rate(support: Tensor, text_features: Tensor) -> float:
    """Return the rate of a, N / (4 max_k sum_i (t_k . g_i)^2), of G [N, D] and T [K, D]."""
    return len(support) / (4 * float((support @ text_features.T).square().sum(dim=0).max()))


class Descent:
    """The states of training by epoch; a pure function of the support images.

    Args:
        support: G [N, D], normalised.
        labels: [N], int64.
        text_features: T [K, D], normalised.
    """

    def __init__(self, support: Tensor, labels: Tensor, text_features: Tensor) -> None:
        self.support = support
        self.labels = labels
        self.text_features = text_features
        self.similar = support @ text_features.T
        self.targets = F.one_hot(labels, len(text_features)).to(support.dtype)
        self.rates = weight_rate(support), alpha_rate(support, text_features)
        self._start()

    def at(self, epoch: int) -> State:
        """Return the state after `epoch` epochs; going on is cheaper than going back."""
        if epoch < self.epoch:
            self._start()
        while self.epoch < epoch:
            self._step()
        return self.state

    def _start(self) -> None:
        self.epoch = 0
        self.state = starting_state(self.support, self.labels, self.text_features)
        self.momentum = (torch.zeros_like(self.state.weight), torch.zeros_like(self.state.bias))

    def _step(self) -> None:
        state, (rate, rate_of_alpha) = self.state, self.rates
        logits = F.linear(self.support, state.weight, state.bias) + state.alpha * self.similar
        # the gradient of the mean cross-entropy by the logits
        slopes = (logits.softmax(dim=1) - self.targets) / len(self.targets)
        velocity = (
            MOMENTUM * self.momentum[0] + slopes.T @ self.support,
            MOMENTUM * self.momentum[1] + slopes.sum(dim=0),
        )
        self.epoch += 1
        alpha = state.alpha
        if self.epoch % INTERVAL == 0:
            alpha = alpha - rate_of_alpha * (slopes * self.similar).sum(dim=0)
        self.momentum = velocity
        self.state = State(
            state.weight - rate * velocity[0], state.bias - rate * velocity[1], alpha
        )
