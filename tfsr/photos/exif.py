"""EXIF blocks: the bytes from the byte order mark on, as in JPEG, PNG and WebP.

Reference:
    https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf
"""

import struct

from PIL import Image
from PIL.ExifTags import IFD
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import ImageFileDirectory_v2

# Tags in a TIFF's main directory that describe the photograph, not how it is stored.
DESCRIPTIVE = (
    Tag.ImageDescription,
    Tag.Make,
    Tag.Model,
    Tag.Software,
    Tag.DateTime,
    Tag.Artist,
    Tag.HostComputer,
    Tag.Copyright,
)


def directory_of(block: bytes) -> ImageFileDirectory_v2:
    """Returns the tags of an EXIF block that a TIFF can hold, as a TIFF directory."""
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    return collect(exif)


def collect(exif: Image.Exif) -> ImageFileDirectory_v2:
    """Returns the tags of `exif` that describe the photograph, not its storage."""
    directory = ImageFileDirectory_v2()
    for tag in DESCRIPTIVE:
        if tag in exif:
            directory[tag] = exif[tag]
    for folder in (IFD.Exif, IFD.GPSInfo):
        tags = {k: v for k, v in exif.get_ifd(folder).items() if k != IFD.Interop}
        if tags:
            directory[folder] = tags
    return directory


def set_integers(block: bytes, values: dict[int, int]) -> bytes:
    """Returns an EXIF block with integer tags set and without its thumbnail.

    Args:
        block: The EXIF block, from its byte order mark on.
        values: New values by tag. A tag that the block lacks is not added.
    """
    changed = bytearray(block)
    order = {b"II": "<", b"MM": ">"}[bytes(block[:2])]
    directories = list(struct.unpack_from(order + "I", changed, 4))
    for directory in directories:
        (entries,) = struct.unpack_from(order + "H", changed, directory)
        end = directory + 2 + 12 * entries
        for entry in range(directory + 2, end, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", changed, entry)
            if tag == IFD.Exif and len(directories) == 1:
                directories += struct.unpack_from(order + "I", changed, entry + 8)
            elif tag in values and kind == 3 and count == 1:
                value = min(values[tag], 65535)
                struct.pack_into(order + "H", changed, entry + 8, value)
            elif tag in values and kind == 4 and count == 1:
                struct.pack_into(order + "I", changed, entry + 8, values[tag])
        if directory == directories[0]:  # ends with a link to the thumbnail's directory
            changed[end : end + 4] = bytes(4)
    return bytes(changed)
