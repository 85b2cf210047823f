// What a file tells of its pixels, as tfsr.photos.origin finds it out.

const START_BYTES = 65536 * 16;  // tables stand before the pixels, behind Exif and profile

/**
 * Returns `found`, the file in words, `lossy` and `quality` (of a JPEG).
 *
 * @param {File} file A photo.
 * @param {object} rule `choice` of models.json.
 */
export async function originOf(file, rule) {
  const view = new DataView(await file.slice(0, START_BYTES).arrayBuffer());
  try {
    if (rule.brands.includes(text(view, 4, 8))) return lossy("HEIC or AVIF file");
    if (text(view, 0, 4) === "RIFF" && text(view, 8, 4) === "WEBP") {
      return webp(view) ? lossy("lossy WebP file") : NOTHING_LOST;
    }
    if (view.getUint16(0) === 0xffd8) {
      const quality = 1 + nearest(rule.sums, sumOfSteps(view));
      return lossy(`JPEG of quality ${quality}`, quality);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;  // else it is cut off
  }
  return NOTHING_LOST;
}

const NOTHING_LOST = { found: "a file without loss", lossy: false, quality: null };

function lossy(kind, quality = null) {
  return { found: `a ${kind}`, lossy: true, quality };
}

function text(view, from, length) {
  return String.fromCharCode(...Array.from({ length }, (_, i) => view.getUint8(from + i)));
}

/** Returns whether the chunk of the pixels is "VP8 ", not "VP8L". */
function webp(view) {
  for (let at = 12; ; ) {
    const chunk = text(view, at, 4);
    if (chunk === "VP8 " || chunk === "VP8L") return chunk === "VP8 ";
    const length = view.getUint32(at + 4, true);
    at += 8 + length + (length % 2);
  }
}

/** Returns the sum of the 64 steps of a JPEG's first quantization table. */
function sumOfSteps(view) {
  let sum = 0;
  for (let at = 2; view.getUint16(at) !== 0xffda; at += 2 + view.getUint16(at + 2)) {
    if (view.getUint16(at) !== 0xffdb) continue;
    const end = at + 2 + view.getUint16(at + 2);
    for (let table = at + 4; table < end; ) {
      const [bytes, index] = [1 + (view.getUint8(table) >> 4), view.getUint8(table) & 15];
      const step = (i) =>
        bytes === 1 ? view.getUint8(table + 1 + i) : view.getUint16(table + 1 + 2 * i);
      const all = Array.from({ length: 64 }, (_, i) => step(i));
      if (index === 0) sum = all.reduce((a, b) => a + b);
      table += 1 + 64 * bytes;
    }
  }
  return sum;
}

/** Returns the index of the value nearest to `wanted`, the first of several. */
function nearest(values, wanted) {
  const distances = values.map((value) => Math.abs(value - wanted));
  return distances.indexOf(Math.min(...distances));
}
