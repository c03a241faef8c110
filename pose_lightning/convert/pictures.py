"""Whole pictures: read by what they hold, whatever they are called, made small enough to store."""

import io
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from pose_lightning.convert import ConvertError, crops
from pose_lightning.convert.crops import Image

SMALLEST_SIDE: Final = 16  # px; less is a bullet, a spacer or a tracking pixel
LONGEST: Final = 50  # times as long as wide; more would not fit a JPEG file, and is no photograph
FORMATS: Final = ("PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
"""Beside JPEG. Pillow knows more, some of which run other programs."""
RULE: Final = (
    "read by content; EXIF orientation applied; the first frame of animations; transparency over white; 16-bit grey "
    "values divided by 257"
)
_SIXTEEN_BITS: Final = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION: Final = 0x0112  # the EXIF tag
_UPRIGHT: Final = 1


def read_picture(path: Path) -> Image:
    """The pixels of a picture file of any common format, upright, as RGB.

    The format is found out from the content. Animations give their first frame, transparent pixels show white, 16-bit
    grey values are scaled to 8 bits.

    Raises:
        ValueError: If it is no picture, or any of its pixels cannot be decoded, or it has an unusable size.
        OSError: If it cannot be read.
    """
    data = crops.picture_bytes(path)
    return checked(_read_jpeg(data) if data.startswith(b"\xff\xd8") else _read_other(data))


def read_either_way(path: Path) -> tuple[Image, UInt8[np.ndarray, "h2 w2 3"]]:
    """The pixels of a picture file of any common format, as they are stored and upright; one where both are the same.

    Raises:
        ValueError: As `read_picture`.
        OSError: If it cannot be read.
    """
    data = crops.picture_bytes(path)
    upright = checked(_read_jpeg(data) if data.startswith(b"\xff\xd8") else _read_other(data))
    is_turned = data.startswith(b"\xff\xd8") and crops.orientation(data[: crops.EXIF_READ]) != _UPRIGHT
    return (crops.decode_bytes(data) if is_turned else upright), upright


def read_as_stored(path: Path) -> Image:
    """The pixels of a JPEG file as they are stored (`crops.decode`), of a usable size: as MPII's annotations mean it.

    Raises:
        ValueError: As `read_picture`, and if it is no JPEG.
        OSError: If it cannot be read.
    """
    return checked(crops.decode(path))


def checked(pixels: Image) -> Image:
    """The picture itself.

    Raises:
        ValueError: If it is too small or too long.
    """
    short, long = sorted(pixels.shape[:2])
    if short < SMALLEST_SIDE:
        raise ValueError(f"smaller than {SMALLEST_SIDE} px")
    if long > LONGEST * short:
        raise ValueError(f"more than {LONGEST} times as long as wide")
    return pixels


def _read_jpeg(data: bytes) -> Image:
    pixels = crops.decode_bytes(data)
    try:
        with Pillow.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            orientation = picture.getexif().get(_ORIENTATION, _UPRIGHT)
    except Exception:  # damaged EXIF data of a picture whose pixels are all there: it says nothing of its orientation
        orientation = _UPRIGHT
    return _turned(pixels, orientation)


def _turned(pixels: Image, orientation: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Upright, by EXIF's orientation 1 to 8: rows and columns swapped from 5 on, then mirrored."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _read_other(data: bytes) -> Image:
    try:
        with Pillow.open(io.BytesIO(data), formats=_formats()) as picture:
            crops.check_count(*picture.size)
            picture.load()
            return _as_rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise ValueError("no picture of a known format") from None
    except Exception as error:  # Pillow lets whatever a damaged file provokes escape
        raise ValueError(str(error) or type(error).__name__) from error


@cache
def _formats() -> list[str]:
    """Those that this build of Pillow reads."""
    Pillow.init()
    return [form for form in FORMATS if form in Pillow.OPEN]


def _as_rgb(picture: Pillow.Image) -> Image:
    """RGB, transparent pixels over white."""
    if picture.mode == "F":
        raise ValueError("floating-point pixels, whose white is unknown")
    if picture.mode in _SIXTEEN_BITS:
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit grey values, whose white is unknown")
        grey = ((values + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        white = Pillow.new("RGBA", picture.size, "white")
        picture = Pillow.alpha_composite(white, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"))


def shrunk(picture: Image, shorter_side: int) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The picture with a shorter side of at most `shorter_side` px, its proportions kept to a rounded pixel."""
    height, width = picture.shape[:2]
    short = min(height, width)
    if short <= shorter_side:
        return picture
    size = tuple(max(shorter_side, round(side * shorter_side / short)) for side in (width, height))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def encoded(picture: Image) -> bytes:
    """The picture as a JPEG file's bytes."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture), crops.QUALITY, "RGB", "444", fastdct=False)


def check_shorter_side(shorter_side: int) -> None:
    """Refuse a size that no store should have.

    Raises:
        ConvertError: If it is out of range.
    """
    if not SMALLEST_SIDE <= shorter_side <= 4096:
        raise ConvertError(f"--shorter-side {shorter_side}: wanted {SMALLEST_SIDE} to 4096 px")
