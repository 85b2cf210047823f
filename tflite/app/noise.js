// How noisy a photo is, as tfsr.photos.noise has it.

const MOST = 1024;  // pixels of a side that are looked at, in the middle
const BLOCK = 8;
const CLIPPED = 48;  // levels from black and white within which strong noise is cut off

/** Returns the standard deviation of the noise in 8-bit units, of a photo in RGBA. */
export function noiseSigma({ pixels, height, width }) {
  const [rows, columns] = [height, width].map((n) => Math.floor(Math.min(n, MOST) / BLOCK));
  const top = (height - rows * BLOCK) >> 1, left = (width - columns * BLOCK) >> 1;
  const all = [], inside = [];
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      for (let c = 0; c < 3; c++) {
        const at = 4 * ((top + y * BLOCK) * width + left + x * BLOCK) + c;
        const mean = diagonals(pixels, at, width, all);
        if (mean > CLIPPED && mean < 255 - CLIPPED) {
          for (const value of all.slice(-((BLOCK / 2) ** 2))) inside.push(value);
        }
      }
    }
  }
  return median(inside.length ? inside : all) / 0.6745;
}

/** Adds the finest diagonal Haar coefficients of a block to `found`; returns its mean. */
function diagonals(pixels, at, width, found) {
  let sum = 0;
  for (let i = 0; i < BLOCK; i += 2) {
    for (let j = 0; j < BLOCK; j += 2) {
      const from = at + 4 * (i * width + j), below = from + 4 * width;
      const [a, b, c, d] = [from, from + 4, below, below + 4].map((n) => pixels[n]);
      found.push(Math.abs(a - b - c + d) / 2);
      sum += a + b + c + d;
    }
  }
  return sum / BLOCK ** 2;
}

function median(values) {
  const sorted = Float32Array.from(values).sort();
  const half = sorted.length >> 1;
  if (!sorted.length) return 0;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
