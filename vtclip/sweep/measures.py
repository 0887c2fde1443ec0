"""What a finished run says of its cost: seconds by part, and the sizes that they depend on."""

from __future__ import annotations

from pathlib import Path

from vtclip.errors import UserError
from vtclip.method import registered_methods
from vtclip.results import RESULT_FILE, Result, read_result
from vtclip.saved_model import MODEL_FILE, read_model

BATCH = "DATALOADER.TRAIN_X.BATCH_SIZE"


def measures_of(folder: Path) -> dict[str, float]:
    """Return the measures of the run in a folder, none where they cannot be read.

    Returns:
        Seconds by part ("features", "train", "search", "test", "total"); the numbers of "classes",
        "test_images", "train_images", "steps" of training and images of one ("batch"); and D,
        "width".
    """
    try:
        result = read_result(folder / RESULT_FILE)
        width = read_model(folder).embed_dim if (folder / MODEL_FILE).is_file() else 0
    except UserError:
        return {}
    classes = len(result.per_class)
    images = max(0, result.shots) * classes
    steps, batch = steps_of(result, images)
    return {
        **result.seconds,
        "classes": classes,
        "test_images": result.total,
        "train_images": images,
        "steps": steps,
        "batch": batch,
        "width": width,
    }


def steps_of(result: Result, images: int) -> tuple[int, int]:
    """Return how many steps a run took, and how many images each had.

    Args:
        result: of the run.
        images: of training.
    """
    most = result.settings.get(BATCH)
    if not images or not result.epochs or not isinstance(most, int):
        return 0, 0
    method = registered_methods().get(result.trainer)
    drops = method is not None and method.drop_last and images >= most
    per_epoch = images // most if drops else -(-images // most)
    return result.epochs * per_epoch, min(images, most)
