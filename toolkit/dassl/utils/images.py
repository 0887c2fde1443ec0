"""Reading photographs."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dassl.utils.files import AnyPath


def read_image(path: AnyPath) -> Image.Image:
    """Return the image at `path` in RGB.

    The format is told by the content, not by the name. An EXIF orientation is not applied, so that
    an image is the same here as in the toolkits whose results are compared with.

    Raises:
        OSError: the file is missing, cut short or no image; one line names file and problem.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'no image file at "{path}"')
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise OSError(f'not an image in a known format: "{path}"') from None
    # Pillow's decoders raise these three, beside OSError, on damaged or absurd content.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OSError(f'cannot read image "{path}": {error}') from error
