"""The renderer, the pre-training script and the committed weights of the `tiny` backbone."""

import pytest
import torch

from scripts.tiny.captions import COLOUR_NAMES, NO_GLYPH, UNSAID, true_of
from scripts.tiny.checkpoint import save_state
from scripts.tiny.glyphs import NUMBERS, glyph_bank
from scripts.tiny.pretrain import (
    WEIGHTS,
    build_parser,
    contrastive_loss,
    encode_texts,
    pretrain,
    random_words,
)
from scripts.tiny.render import RESOLUTION, contact_sheet, render
from vtclip.backbones.clip_package import build_model


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_bank_has_every_digit_in_many_fonts():
    bank = glyph_bank()
    assert bank.names[:10] == NUMBERS
    assert all(len(members) >= 20 for members in bank.members[:10])
    assert len(set(bank.names)) == len(bank.names) > 1000
    assert bank.masks.amax(dim=(1, 2)).min() > 100


def test_equal_seeds_give_equal_pictures():
    one, two, other = render(70, seeded(3)), render(70, seeded(3)), render(70, seeded(4))
    assert torch.equal(one.images, two.images)
    assert one.captions == two.captions
    assert torch.equal(one.shown, two.shown)
    assert not torch.equal(one.images, other.images)


def test_pictures_are_rgb_and_not_blank():
    images = render(70, seeded(0)).images
    assert images.shape == (70, 3, RESOLUTION, RESOLUTION)
    assert images.dtype == torch.uint8
    assert images.float().std(dim=(1, 2, 3)).median() > 10


def test_captions_say_what_is_shown():
    pictures = render(300, seeded(1))
    names = glyph_bank().names
    assert true_of(pictures.shown, pictures.said).diagonal().all()
    for caption, shown, said in zip(
        pictures.captions, pictures.shown.tolist(), pictures.said.tolist(), strict=True
    ):
        if shown[0] >= len(NUMBERS):
            assert names[shown[0]] in caption
        elif shown[0] >= 0:
            assert names[shown[0]] in caption or caption == f"the digit {shown[0]}"
        else:
            assert shown[0] == NO_GLYPH
        if said[1] != UNSAID:
            assert COLOUR_NAMES[shown[1]] in caption


def test_caption_is_true_of_every_picture_it_describes():
    shown = torch.tensor([[7, 3, 0, 0], [7, 8, 0, 0], [2, 3, 0, 0]])
    said = torch.tensor([[7, UNSAID, UNSAID, UNSAID], [7, 8, UNSAID, UNSAID]])
    assert true_of(shown, said).tolist() == [[True, False], [True, True], [False, False]]


def test_loss_with_one_positive_is_cross_entropy():
    logits = torch.randn(5, 5, generator=seeded(0))
    labels = torch.arange(5)
    expected = torch.nn.functional.cross_entropy(logits, labels)
    expected = (expected + torch.nn.functional.cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(contrastive_loss(logits, torch.eye(5).bool()), expected)


def test_random_words_are_different_words():
    words = random_words(64, seeded(0))
    assert len(set(words)) == 64
    assert all(word.isalpha() for word in words)


def test_contact_sheet_size():
    assert contact_sheet(2, 3, seed=0).size == (3 * RESOLUTION, 2 * RESOLUTION)


def run_shortly(path):
    """Three steps of pre-training; the thread count it sets is put back."""
    threads = torch.get_num_threads()
    args = build_parser().parse_args(
        ["--steps", "3", "--batch-size", "16", "--words", "8", "--settle-batches", "1"]
    )
    save_state(pretrain(args).state_dict(), path, level=1)
    torch.set_num_threads(threads)
    return path


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    return run_shortly(tmp_path_factory.mktemp("tiny") / "tiny.pt")


def test_equal_runs_write_equal_files(short_run, tmp_path):
    assert run_shortly(tmp_path / "tiny.pt").read_bytes() == short_run.read_bytes()


@pytest.mark.parametrize("which", ["short run", "committed"])
def test_weights_load_in_openais_layout(which, short_run):
    path = WEIGHTS if which == "committed" else short_run
    assert path.stat().st_size <= 5 * 2**20
    assert [p.name for p in short_run.parent.iterdir()] == ["tiny.pt"]
    state = torch.load(path, map_location="cpu", weights_only=True)
    assert all(v.dtype == torch.float16 for v in state.values() if v.is_floating_point())
    assert state["token_embedding.weight"].shape[0] == 49408
    assert state["positional_embedding"].shape[0] == 77
    model = build_model(state).float().eval()
    assert model.visual.input_resolution == RESOLUTION
    with torch.no_grad():
        features = model.encode_image(torch.zeros(2, 3, RESOLUTION, RESOLUTION))
        texts = encode_texts(model, ["a photo of a cup.", "a photo of a cougar body."])
    assert features.shape == (2, model.text_projection.shape[1])
    assert features.isfinite().all()
    assert not torch.allclose(texts[0], texts[1], atol=1e-3)
