from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vtclip.features import FeatureLoader, Features, MemoryFeatures

N = 10
LABELS = torch.arange(N) * 3


def numbered(view: int = 0, spatial: bool = True) -> MemoryFeatures:
    """Image i of view v has the features i + 100 v."""
    values = torch.arange(N) + 100.0 * view
    locations = values[:, None, None].expand(N, 3, 4) if spatial else None
    return MemoryFeatures(Features(values[:, None].expand(N, 2), locations))


def rows_of(loader: FeatureLoader) -> Tensor:
    return torch.cat([batch["index"] for batch in loader])


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize("views", [1, 3])
def test_batches_hold_the_features_and_labels_of_their_rows(views: int, spatial: bool) -> None:
    loader = FeatureLoader([numbered(v, spatial) for v in range(views)], LABELS, 4, shuffle=True)
    batches = list(loader)
    assert [len(b["label"]) for b in batches] == [4, 4, 2]
    assert len(loader) == 3
    for batch in batches:
        assert batch["label"].tolist() == (batch["index"] * 3).tolist()
        features = batch["features"]
        assert (features.global_features[:, 0].long() % 100).tolist() == batch["index"].tolist()
        if spatial:
            assert features.spatial_features is not None
            assert features.spatial_features.shape[1:] == (3, 4)
            assert torch.equal(features.spatial_features[:, 0, 0], features.global_features[:, 0])
        else:
            assert features.spatial_features is None


def test_order_is_the_permutation_of_the_seed() -> None:
    loader = FeatureLoader([numbered()], LABELS, 4, shuffle=True)
    torch.manual_seed(7)
    order = rows_of(loader)
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(order, torch.randperm(N))
    assert torch.equal(after, torch.rand(1))


def test_views_are_drawn_after_the_order_anew_each_epoch() -> None:
    loader = FeatureLoader([numbered(v) for v in range(3)], LABELS, 4, shuffle=True)

    def drawn() -> list[int]:
        views = torch.empty(N, dtype=torch.int64)
        for batch in loader:
            values = batch["features"].global_features[:, 0].long()
            views[batch["index"]] = values // 100
        return views.tolist()

    torch.manual_seed(7)
    first, second = drawn(), drawn()
    torch.manual_seed(7)
    torch.randperm(N)
    assert first == torch.randint(3, (N,)).tolist()
    assert first != second


@pytest.mark.parametrize(("views", "sizes"), [(1, [4, 4, 2]), (3, [4, 4, 4])])
def test_a_pool_of_views_is_drawn_from_without_putting_back(views: int, sizes: list[int]) -> None:
    loader = FeatureLoader([numbered(v) for v in range(views)], LABELS, 4, pool_views=True)
    torch.manual_seed(7)
    batches = list(loader)
    assert [len(batch["label"]) for batch in batches] == sizes
    torch.manual_seed(7)
    drawn = torch.randperm(views * N)[: sum(sizes)]
    values = torch.cat([batch["features"].global_features[:, 0] for batch in batches]).long()
    # image i of view v has the features i + 100 v
    assert values.tolist() == [int(d) % N + 100 * (int(d) // N) for d in drawn]
    assert torch.cat([b["index"] for b in batches]).equal(values % 100)
    assert torch.cat([b["label"] for b in batches]).equal(values % 100 * 3)


def test_a_pool_of_views_drops_the_batch_that_one_view_does_not_fill() -> None:
    pool = [numbered(v) for v in range(3)]
    loader = FeatureLoader(pool, LABELS, 4, drop_last=True, pool_views=True)
    assert [len(batch["label"]) for batch in loader] == [4, 4]
    # fewer images than a batch holds: one batch, filled from all views
    loader = FeatureLoader(pool, LABELS, 16, drop_last=True, pool_views=True)
    assert [len(batch["label"]) for batch in loader] == [16]


def test_without_shuffle_nothing_is_drawn_and_the_order_is_the_list() -> None:
    before = torch.get_rng_state()
    assert rows_of(FeatureLoader([numbered()], LABELS, 4)).tolist() == list(range(N))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("batch_size", "left"), [(4, 8), (5, 10), (10, 10), (11, 10)])
def test_drop_last_keeps_the_only_batch(batch_size: int, left: int) -> None:
    loader = FeatureLoader([numbered()], LABELS, batch_size, shuffle=True, drop_last=True)
    rows = rows_of(loader).tolist()
    assert len(rows) == len(set(rows)) == left
    assert len(loader) == len(list(loader))


def test_each_row_once_an_epoch() -> None:
    loader = FeatureLoader([numbered(0), numbered(1)], LABELS, 3, shuffle=True)
    for _ in range(3):
        assert sorted(rows_of(loader).tolist()) == list(range(N))


def test_wrong_arguments_state_both_values() -> None:
    with pytest.raises(ValueError, match=r"\[10\].* 9 labels"):
        FeatureLoader([numbered()], LABELS[:9], 4)
    with pytest.raises(ValueError, match="batch_size is 0"):
        FeatureLoader([numbered()], LABELS, 0)
    with pytest.raises(ValueError, match="at least one view"):
        FeatureLoader([], LABELS, 4)


def test_works_on_the_meta_device() -> None:
    meta = MemoryFeatures(
        Features(torch.empty(N, 2), torch.empty(N, 3, 4)).to("meta", torch.bfloat16)
    )
    batch = next(iter(FeatureLoader([meta], LABELS, 4, shuffle=True)))
    assert batch["features"].spatial_features is not None
    assert batch["features"].spatial_features.shape == (4, 3, 4)
    assert batch["features"].spatial_features.dtype == torch.float32
    assert batch["features"].to("meta").global_features.device.type == "meta"


def test_memory_features_refuse_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        MemoryFeatures(Features(torch.zeros(3)))
    with pytest.raises(ValueError, match=r"not \[3, S, C\]"):
        MemoryFeatures(Features(torch.zeros(3, 2), torch.zeros(2, 4, 2)))
