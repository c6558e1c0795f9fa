"""The company's logo: whatever was uploaded, drawn anew as a small PNG, so that nothing else of the file survives."""

import base64
import hashlib
import io
from dataclasses import dataclass

LARGEST_BYTES = 1024 * 1024
MOST_PIXELS = 16_000_000
"""Looked at before anything is unpacked: a small file can claim to be a huge picture."""
FORMATS = ("PNG", "JPEG", "WEBP")
BOX = (480, 120)
"""Kept size in pixels: three times what pages show, as sharp as phones are."""


class LogoRefused(Exception):
    """The file cannot be a logo; ``code`` says why (too_large, not_a_picture, too_many_pixels)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Logo:
    """A logo ready to be sent: PNG bytes, their digest for the address, the size in pixels it is shown at."""

    content: bytes
    digest: str
    width: int
    height: int


def redraw(upload: bytes, box: tuple[int, int] = BOX) -> str:
    """``upload`` (PNG, JPEG or WebP) as a PNG within ``box`` (pixels), base64. Raises LogoRefused."""
    if len(upload) > LARGEST_BYTES:
        raise LogoRefused("too_large")
    from PIL import Image, UnidentifiedImageError  # only when a picture is looked at

    try:
        with Image.open(io.BytesIO(upload), formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise LogoRefused("too_many_pixels")
            drawn = picture.convert("RGBA")
            drawn.thumbnail(box)
    except Image.DecompressionBombError:
        raise LogoRefused("too_many_pixels") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise LogoRefused("not_a_picture") from None
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def read(value: str) -> Logo | None:
    """The logo in a setting's value, or None."""
    if not value:
        return None
    from PIL import Image

    content = base64.b64decode(value)
    with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
        width, height = picture.size
    return Logo(content, hashlib.sha256(content).hexdigest()[:12], max(1, width // 3), max(1, height // 3))
