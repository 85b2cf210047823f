"""The icons of the site: a disc that is made of large pixels on one side."""

from pathlib import Path

from PIL import Image, ImageDraw

from tfsr.files import replacing

DARK, LIGHT = "#0b3d75", "#8cc4ff"
MASKABLE = "icon_512_maskable.png"  # filled to its edges; systems crop it
ROUNDED = {"icon_192.png": 192, "icon_512.png": 512}
SIDES = {**ROUNDED, "icon_180.png": 180, MASKABLE: 512}  # iOS rounds the one of 180
CELLS = 12  # large pixels on a side
FINE = 4  # oversampling of the edges


def draw_icons(out: str | Path) -> None:
    """Writes the icons of `SIDES` into the folder `out`."""
    for name, side in SIDES.items():
        with replacing(Path(out) / name) as temporary:
            _icon(side, name in ROUNDED).save(temporary)


def _icon(side, rounded):
    """Returns the icon, whose corners are transparent if they are rounded."""
    large = side * FINE
    icon = Image.new("RGBA", (large, large), DARK)
    draw = ImageDraw.Draw(icon)
    # Within the inner 80 %, which no mask cuts.
    box = (0.2 * large, 0.2 * large, 0.8 * large, 0.8 * large)
    draw.ellipse(box, fill=LIGHT)
    coarse = icon.resize((CELLS, CELLS), Image.Resampling.BOX)
    coarse = coarse.resize((large, large), Image.Resampling.NEAREST)
    icon.paste(coarse.crop((0, 0, large // 2, large)), (0, 0))
    if rounded:
        mask = Image.new("L", (large, large))
        shape = ImageDraw.Draw(mask)
        shape.rounded_rectangle((0, 0, large - 1, large - 1), 0.22 * large, fill=255)
        icon.putalpha(mask)
    return icon.resize((side, side), Image.Resampling.LANCZOS)
