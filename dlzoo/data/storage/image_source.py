"""Images as a user of Python has them: paths, PIL images, arrays and tensors, one or several."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from dlzoo.core.errors import UserError

#: One image: a path, a PIL image, an array (H, W) or (H, W, C) or a tensor (C, H, W), both uint8.
ImageLike = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
#: One image or several: a list, an array (N, H, W, C) or a tensor (N, C, H, W).
Images = ImageLike | Iterable[ImageLike]
#: An image that `image_file` reads.
ImageSource = Path | Image.Image

#: Channels of an array -> the mode of the image.
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def image_sources(images: Images) -> list[ImageSource]:
    """Return the images that are given in any of the forms of `Images`.

    Raises:
        UserError: if there is none, or for something that is no image; the message names its place in the list.
    """
    dimensions = images.ndim if isinstance(images, (np.ndarray, Tensor)) else 4
    if isinstance(images, (str, os.PathLike, Image.Image)) or dimensions < 4:
        return [_source(images, "images")]
    if not isinstance(images, Iterable) or dimensions > 4:
        raise UserError(f"images: {_describe(images)} is not an image, or a list of images")
    sources = [_source(image, f"images[{place}]") for place, image in enumerate(images)]
    if not sources:
        raise UserError("images: the list is empty; name one or more images")
    return sources


def _source(image: object, name: str) -> ImageSource:
    """Return one image; `name` is what an error calls it."""
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, (str, os.PathLike)):
        return Path(os.path.expanduser(image))
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] not in _MODES:
            raise UserError(
                f"{name}: a tensor of an image has the shape (channels, height, width), not {_shape(image)}"
            )
        return _from_array(image.detach().cpu().permute(1, 2, 0).numpy(), name)
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in _MODES):
            raise UserError(
                f"{name}: an array of an image has the shape (height, width, channels), not {_shape(image)}"
            )
        return _from_array(image, name)
    raise UserError(f"{name}: {_describe(image)} is not an image; give a path, a PIL image, an array or a tensor")


def _from_array(pixels: np.ndarray, name: str) -> Image.Image:
    """Return pixels (H, W) or (H, W, C), uint8, or uint16 for grey images, as an image."""
    grey = pixels.ndim == 2 or pixels.shape[2] == 1
    if pixels.dtype != np.uint8 and not (pixels.dtype == np.uint16 and grey):
        remedy = " multiply by 255 and convert it to uint8" if pixels.dtype.kind == "f" else " convert it to uint8"
        raise UserError(f"{name}: pixels are integers from 0 to 255 (uint8), not {pixels.dtype};{remedy}")
    if 0 in pixels.shape:
        raise UserError(f"{name}: the image has no pixels: its shape is {_shape(pixels)}")
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.ndim == 3 and grey else pixels))


def _shape(value: np.ndarray | Tensor) -> str:
    return str(tuple(value.shape))


def _describe(value: object) -> str:
    return (
        f"an array of shape {_shape(value)}" if isinstance(value, (np.ndarray, Tensor)) else repr(type(value).__name__)
    )
