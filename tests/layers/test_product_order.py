"""Orders of matrix products: each equal to the plain one, and chosen by its cost."""

from __future__ import annotations

import pytest
import torch

from vtclip.layers import MultiHeadAttention
from vtclip.layers.product_order import (
    Order,
    Sizes,
    absorb_key,
    absorb_output,
    absorb_value,
    cheapest_order,
    multiplications_of_orders,
)


@pytest.mark.parametrize(
    ("n_classes", "order"),
    [(10, "absorb_key_value"), (100, "absorb_key"), (300, "plain"), (1000, "absorb_output")],
)
def test_products_are_ordered_by_their_cost(n_classes: int, order: Order) -> None:
    attention = MultiHeadAttention(1024, 1024, 8).to("meta")
    queries = torch.empty(1, n_classes, 1024, device="meta")
    assert attention.order(queries, torch.empty(32, 49, 1024, device="meta")) == order
    assert attention.order(queries, queries) == "plain"
    own_queries = queries.expand(32, -1, -1)
    assert attention.order(own_queries, torch.empty(32, 49, 1024, device="meta")) == "plain"


def test_the_cost_of_an_order_counts_its_multiplications() -> None:
    # plain: 16 + 16 + 8 + 16 multiplications; absorb_key: 4 + 16 + 16 + 4 + 16, of which the first
    # 16 do not depend on the image
    one = Sizes(n_images=1, n_queries=1, n_keys=1, num_heads=1, dim=4, memory_dim=4)
    assert multiplications_of_orders(one) == {
        "plain": 56,
        "absorb_key": 56,
        "absorb_key_value": 56,
        "absorb_output": 56,
    }
    assert cheapest_order(one) == "plain"
    assert cheapest_order(one._replace(n_images=2)) == "absorb_key"


def test_absorbed_products_equal_those_of_projected_tensors() -> None:
    torch.manual_seed(0)
    b, k, s, h, e, c = 3, 5, 7, 4, 6, 10
    k_proj, v_proj, out_proj = (torch.nn.Linear(width, h * e).double() for width in (c, c, h * e))
    q, memory = torch.randn(k, h, e).double(), torch.randn(b, s, c).double()
    weights = torch.rand(b, s, h, k).double()  # do not sum to 1, as after dropout
    keys, values = (layer(memory).unflatten(-1, (h, e)) for layer in (k_proj, v_proj))

    scores = torch.einsum("khe,bshe->bshk", q, keys)
    bias = torch.einsum("khe,he->hk", q, k_proj.bias.unflatten(0, (h, e)))
    torch.testing.assert_close(absorb_key(q, memory, k_proj) + bias, scores)

    mixed = torch.einsum("bshk,bshe->bkhe", weights, values).flatten(2)
    torch.testing.assert_close(absorb_value(weights, memory, v_proj), mixed)
    torch.testing.assert_close(absorb_output(weights, values, out_proj), out_proj(mixed))
