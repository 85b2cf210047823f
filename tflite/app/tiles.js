// Photographs in tiles, as tfsr.upscaling.tiling has them.

/** Returns the tile's length along an axis, and the windows that cover `length`. */
export function cover(model, length, axis) {
  const whole = Math.ceil(length / model.step) * model.step;
  const own = model.tile[axis];
  const tile = model.resizable ? Math.min(own, whole) : own;
  const used = tile - (tile % model.step);  // what is beyond a multiple is not
  return { tile, windows: windows(length, used, model.overlap[axis], model.step) };
}

/** Returns where every window begins, and what is used of it. */
function windows(length, tile, overlap, step) {
  const whole = Math.ceil(length / step) * step;
  const found = [];
  for (let first = 0; first < length; ) {
    const begin = Math.max(0, Math.min(first - overlap, whole - tile));
    const end = Math.min(whole, begin + tile);
    const last = end === whole ? length : end - overlap;
    found.push({ begin, first, last });
    first = last;
  }
  return found;
}

/** Returns the RGB of a tile; beyond the photo its last row and column are repeated. */
export function cut(photo, top, left, tileHeight, tileWidth) {
  const { pixels, height, width } = photo;
  const rgb = new Uint8Array(tileHeight * tileWidth * 3);
  let to = 0;
  for (let y = 0; y < tileHeight; y++) {
    const row = Math.min(top + y, height - 1) * width;
    for (let x = 0; x < tileWidth; x++) {
      const from = 4 * (row + Math.min(left + x, width - 1));
      rgb[to++] = pixels[from];
      rgb[to++] = pixels[from + 1];
      rgb[to++] = pixels[from + 2];
    }
  }
  return rgb;
}

/** Returns the used part of a tile's enlargement as RGBA, and where it belongs. */
export function used(sr, scale, tileWidth, row, column) {
  const height = (row.last - row.first) * scale;
  const width = (column.last - column.first) * scale;
  const rgba = new Uint8ClampedArray(height * width * 4).fill(255);
  let to = 0;
  for (let y = 0; y < height; y++) {
    const line = ((row.first - row.begin) * scale + y) * tileWidth * scale;
    let from = 3 * (line + (column.first - column.begin) * scale);
    for (let x = 0; x < width; x++, to += 4) {
      rgba[to] = sr[from++];
      rgba[to + 1] = sr[from++];
      rgba[to + 2] = sr[from++];
    }
  }
  return { rgba, height, width, top: row.first * scale, left: column.first * scale };
}
