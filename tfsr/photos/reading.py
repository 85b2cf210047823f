"""Reads photographs without losing bit depth, transparency or metadata.

Pillow decodes all files. It opens 16-bit colour but keeps only the high byte of each
sample, so such files are decoded twice, once for each byte. Other libraries do no
better: pypng is not maintained, tifffile lacks LZW without imagecodecs, OpenCV drops
the metadata.
"""

import io
import struct
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ImageCms
from PIL.ExifTags import Base as Tag

from tfsr.photos.exif import collect, directory_of, set_integers
from tfsr.photos.opening import has_16_bits, image_file, open_image, raw_mode_of
from tfsr.photos.photo import COLOR_CHUNKS, Photo

PART_ROWS = 256
XMP = "XML:com.adobe.xmp"  # the name of the text in which a PNG has it
# By the data colour space of an ICC profile: the channels of the pixels it describes.
ICC_CHANNELS = {b"GRAY": 1, b"RGB ": 3}
# By EXIF orientation: the view of `(H, W, ...)` that is upright.
UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def read_photo(file: str | Path) -> Photo:
    """Returns the photograph in `file`; its content tells the format, not its ending.

    Raises:
        InputError: If the file is no photograph or cannot be read in full.
    """
    with image_file(file) as stream:
        return _read(stream)


def _read(stream: BinaryIO) -> Photo:
    image = open_image(stream)
    notes = []
    if image.format == "MPO" and image.n_frames > 1:
        notes.append(f"first of the {image.n_frames} pictures in the file taken")
    if image.format == "TIFF" and image.n_frames > 1:
        notes.append("smaller copies of the picture in the file left out")
    raw_mode = raw_mode_of(image)
    if has_16_bits(image):
        pixels = _sixteen_bits(stream, image)
    else:
        pixels = _eight_bits(image, notes)
    if image.format == "TIFF" and 0 in np.ravel(image.tag_v2.get(Tag.ExtraSamples, ())):
        notes.append("extra channel of unknown meaning left out")
    if image.format == "AVIF" and _is_deep_avif(stream):
        notes.append("10 or 12 bits a channel reduced to 8")
    if "xmp" in image.info or "photoshop" in image.info:
        notes.append("XMP and IPTC metadata left out")
    if texts := _texts(image):
        notes.append(f"texts left out: {', '.join(texts)}")
    # After decoding: PNG may have EXIF behind its pixels, and Pillow rotates TIFF.
    orientation, exif = _exif(image, notes)
    turn = UPRIGHT.get(orientation, lambda a: a)
    channels = 1 if pixels.shape[2] < 3 else 3
    color, alpha = pixels[..., :channels], None
    if pixels.shape[2] > channels:
        alpha = pixels[..., channels]
    elif image.mode != "P" and "transparency" in image.info:
        alpha = _keyed_alpha(image.info["transparency"], color, raw_mode)
    return Photo(
        np.ascontiguousarray(turn(color)),
        None if alpha is None else np.ascontiguousarray(turn(alpha)),
        _icc(image, channels, notes),
        _dpi(image),
        exif,
        _color_chunks(stream) if image.format == "PNG" else {},
        notes,
    )


def _texts(image):
    """Returns the names of a file's texts: those of a PNG, or a JPEG's comment."""
    if image.format != "PNG":
        return ["comment"] if "comment" in image.info else []
    texts = [name for name, value in image.info.items() if isinstance(value, str)]
    return [name for name in texts if name != XMP]


def _eight_bits(image, notes):
    """Returns the pixels as uint8 `(H, W, C)`; C is 1 or 3, one more with alpha."""
    if image.mode == "CMYK":
        image = _rgb_from_cmyk(image, notes)
    elif image.mode in ("P", "PA"):
        image.load()  # transparency is known only after loading
        transparent = image.mode == "PA" or "transparency" in image.info
        notes.append(f"palette converted to RGB{' and alpha' * transparent}")
        image = image.convert("RGBA" if transparent else "RGB")
    elif image.mode == "1":
        notes.append("black and white converted to 8-bit grayscale")
        image = image.convert("L")
    elif image.mode == "La":
        image = image.convert("LA")
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")
    return _as_array(image)


def _as_array(image):
    """Returns Pillow's pixels as `(H, W, C)`, copied in parts.

    Pillow would copy the whole image twice: 0.3 GB more at the peak for 100 megapixels.
    """
    image.load()
    width, height = image.size
    pixels = np.empty((height, width, len(image.getbands())), np.uint8)
    for top in range(0, height, PART_ROWS):
        part = image.crop((0, top, width, min(height, top + PART_ROWS)))
        pixels[top : top + PART_ROWS] = np.atleast_3d(np.asarray(part))
    return pixels


def _rgb_from_cmyk(image, notes):
    depth = "16-bit " if ";16" in raw_mode_of(image) else ""
    icc = image.info.get("icc_profile")
    if icc:
        image.load()
        try:
            rgb = ImageCms.profileToProfile(
                image,
                io.BytesIO(icc),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            notes.append("unusable ICC profile left out")
        else:
            notes.append(f"{depth}CMYK converted to 8-bit sRGB by its ICC profile")
            return rgb
    notes.append(
        f"{depth}CMYK converted to 8-bit RGB without a profile: colours may be off"
    )
    return image.convert("RGB")


def _sixteen_bits(stream, image):
    """Returns the pixels as uint16 `(H, W, C)`; C is 1 or 3, one more with alpha."""
    raw_mode = raw_mode_of(image)
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if raw_mode == "LA;16B":  # unpacked as RGBA, the four bytes of gray and alpha
        return _decode(image, "RGBA").view(">u2").astype(np.uint16)
    if image.mode not in ("RGB", "RGBA"):
        pixels = _decode(image, raw_mode).astype(np.uint16)
        if raw_mode == "I;12":
            pixels = pixels << 4 | pixels >> 8
        # Pillow ignores this tag at 16 bits.
        white_is_zero = tags.get(Tag.PhotometricInterpretation) == 0
        return 65535 - pixels if white_is_zero else pixels
    # Pillow keeps the high byte; unpacking in the other byte order gives the low one.
    straight = raw_mode.replace("RGBa", "RGBA")
    big = straight[-1] == "B" or (straight[-1] == "N" and sys.byteorder == "big")
    pixels = _decode(image, straight).astype(np.uint16) << 8
    pixels |= _decode(
        open_image(stream, whole=False), straight[:-1] + ("L" if big else "B")
    )
    if straight != raw_mode:  # premultiplied by alpha
        alpha = np.maximum(pixels[..., 3:], 1).astype(np.float32)
        color = pixels[..., :3] * (65535 / alpha) + 0.5
        pixels[..., :3] = np.minimum(color, 65535)
    return pixels


def _decode(image, raw_mode):
    """Returns the pixels as `(H, W, C)`, unpacked as if the file had `raw_mode`."""
    if image.format == "TIFF":
        args = [(raw_mode, *tile.args[1:]) for tile in image.tile]
    else:
        args = [raw_mode for _ in image.tile]
    image.tile = [
        tile._replace(args=arg) for tile, arg in zip(image.tile, args, strict=True)
    ]
    return np.atleast_3d(np.asarray(image))


def _keyed_alpha(key, color, raw_mode):
    """Returns the alpha `(H, W)` of a PNG that declares one colour transparent."""
    peak = np.iinfo(color.dtype).max
    # Pillow spreads 2- and 4-bit pixels over 0 to 255, but not the key.
    key = np.asarray(key) * {"L;2": 85, "L;4": 17}.get(raw_mode, 1) & peak
    return (color != key).any(axis=2).astype(color.dtype) * color.dtype.type(peak)


def _icc(image, channels, notes):
    """Returns the ICC profile if it describes pixels of `channels`, else None."""
    icc = image.info.get("icc_profile")
    if not icc or not isinstance(icc, bytes) or image.mode == "CMYK":
        return None
    if ICC_CHANNELS.get(icc[16:20]) != channels:
        notes.append("ICC profile of another colour space left out")
        return None
    return icc


def _color_chunks(stream):
    """Returns the chunks of a PNG that define its colours, by name."""
    found = {}
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"IDAT":  # all of them come before the pixels
            break
        if COLOR_CHUNKS.get(name) == length:
            found[name] = stream.read(length)
            length = 0
        stream.seek(length + 4, io.SEEK_CUR)
    return found


def _is_deep_avif(stream):
    """Returns whether an AVIF has more than 8 bits a sample, by its `av1C` box."""
    stream.seek(0)
    box = stream.read(2**16).partition(b"av1C")[2]
    return len(box) > 2 and bool(box[2] & 0x40)


def _dpi(image):
    if image.format == "TIFF" and Tag.XResolution not in image.tag_v2:
        return None  # Pillow reports 1 where it is missing
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 <= x <= 30000 and 1 <= y <= 30000 else None


def _exif(image, notes):
    """Returns the orientation, and the EXIF block with orientation 1 or None.

    The block is patched in place, because rewriting it would break the offsets in its
    maker notes. A TIFF has no block; one is made from the tags in its directory.
    """
    orientation, block = 1, None
    try:
        tags = image.getexif()
        orientation = tags.get(Tag.Orientation, 1)
        if image.format != "TIFF" and isinstance(image.info.get("exif"), bytes):
            block = image.info["exif"].removeprefix(b"Exif\0\0")
            directory_of(block).tobytes()  # to fail now, not when a TIFF is written
        elif directory := collect(tags):
            block = b"II*\0\x08\0\0\0" + directory.tobytes(8)
        return orientation, block and set_integers(block, {Tag.Orientation: 1})
    except Exception:  # Pillow raises nearly anything on damaged EXIF
        notes.append("unreadable EXIF left out")
        return orientation, None
