import pytest
from dassl.utils import read_image
from PIL import Image


def test_gif_called_jpg_is_rgb(tmp_path):
    path = tmp_path / "cat.jpg"
    image = Image.new("P", (5, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(path, format="GIF")
    read = read_image(path)
    assert (read.mode, read.size, read.getpixel((0, 0))) == ("RGB", (5, 4), (255, 0, 0))


def test_exif_orientation_is_not_applied(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter
    Image.new("RGB", (8, 4)).save(path, exif=exif)
    assert read_image(path).size == (8, 4)


def write_nothing(path):
    pass


def write_text(path):
    path.write_text("not a picture")


def write_part(path, form):
    Image.effect_noise((64, 64), 50).convert("RGB").save(path, format=form)
    path.write_bytes(path.read_bytes()[:1500])


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (write_nothing, "no image file"),
        (write_text, "not an image"),
        (lambda path: write_part(path, "JPEG"), "truncated"),
        (lambda path: write_part(path, "PNG"), "cannot read image"),
        (lambda path: path.mkdir(), "no image file"),
    ],
)
def test_unreadable_file_is_one_line_with_its_name(tmp_path, write, problem):
    path = tmp_path / "photo.jpg"
    write(path)
    with pytest.raises(OSError, match=problem) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
