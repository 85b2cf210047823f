"use strict";
// Runs a TFLite model on photographs, away from the page's own thread.
//
// The page sends the model's facts (see tfsr.tflite.browser) with each photograph, RGBA
// and its sides. It gets back: `tile` for each tile, `done` with the time of the photo,
// `latency` with that of the network alone, or `error`.

const HERE = new URL("./", self.location).href;
const RUNS = 7;  // of the latency, of which the median counts
const LUMA = Float32Array.of(0.299, 0.587, 0.114);  // of JPEG
const STEP = Math.fround(1 / 255);  // of a file's 8 bits
let litert;  // LiteRT.js, once it is loaded
let threads = 1;

self.onmessage = async ({ data: { model, pixels, height, width } }) => {
  try {
    litert ??= await load();
    await enlarge(model, pixels, height, width);
    await measure(model);
  } catch (error) {
    postMessage({ kind: "error", text: String(error.message ?? error) });
  }
};

async function load() {
  const loaded = await import(`${HERE}litert/core.js`);
  // Threads share memory, which browsers allow to isolated pages alone.
  const threaded = self.crossOriginIsolated && (await loaded.supportsFeature("relaxedSimd"));
  self.Module = {
    locateFile: (name) => `${HERE}litert/${name}`,
    mainScriptUrlOrBlob: `${HERE}litert/litert_wasm_threaded_internal.js`,
    printErr: console.debug,  // what LiteRT tells of itself
  };
  await loaded.loadLiteRt(`${HERE}litert/`, { threads: Boolean(threaded) });
  if (threaded) threads = loaded.getGlobalLiteRt().liteRtWasm.getThreadCount();
  return loaded;
}

/** Returns a function from the bytes of `height` x `width` pixels to the model's. */
async function compile(model, height, width) {
  const response = await fetch(HERE + encodeURIComponent(model.file));
  const content = new Uint8Array(await response.arrayBuffer());
  const view = new DataView(content.buffer);
  if (model.resizable) {
    for (const shape of model.shapes) {
      view.setInt32(shape.height, height * shape.factor, true);
      view.setInt32(shape.width, width * shape.factor, true);
    }
  }
  const compiled = await litert.loadAndCompile(content, { accelerator: "wasm" });
  const run = async (pixels) => {
    const input = new litert.Tensor(pixels, [1, height, width, model.channels]);
    const [output] = await compiled.run([input]);
    const result = output.toTypedArray();
    input.delete();
    output.delete();
    return result;
  };
  return { run, delete: () => compiled.delete() };
}

async function enlarge(model, pixels, height, width) {
  const rows = cover(model, height, 0);
  const columns = cover(model, width, 1);
  const network = await compile(model, rows.tile, columns.tile);
  const started = performance.now();
  let count = 0;
  for (const row of rows.windows) {
    for (const column of columns.windows) {
      const lr = cut(pixels, height, width, row.begin, column.begin, rows.tile, columns.tile);
      const sr = await inColour(model, network, lr);
      postMessage({
        kind: "tile",
        ...used(sr, model.scale, columns.tile, row, column),
        share: ++count / (rows.windows.length * columns.windows.length),
      });
    }
  }
  const ms = performance.now() - started;
  network.delete();
  postMessage({ kind: "done", ms, tiles: count });
}

/** Returns what a model makes of RGB; one of a channel as `tfsr.upscale` applies it. */
async function inColour(model, network, rgb) {
  if (model.channels === 3) return network.run(rgb);
  if (model.luma) {
    const y = luma(rgb);
    const sr = await network.run(Uint8Array.from(y, (value) => value / STEP + 0.5));
    const change = y.map((value, i) => sr[i] - 255 * value);
    return Uint8ClampedArray.from(rgb, (value, i) => value + change[(i / 3) | 0]);
  }
  const channels = [];
  for (const c of [0, 1, 2]) {
    channels.push(await network.run(rgb.filter((_, i) => i % 3 === c)));
  }
  const length = 3 * channels[0].length;
  return Uint8Array.from({ length }, (_, i) => channels[i % 3][(i / 3) | 0]);
}

/** Returns the luma of RGB, in [0, 1] and with every rounding of `tfsr.upscale`. */
function luma(rgb) {
  const part = (i, c) => Math.fround(LUMA[c] * Math.fround(rgb[3 * i + c] / 255));
  return Float32Array.from({ length: rgb.length / 3 }, (_, i) =>
    Math.fround(part(i, 0) + part(i, 1)) + part(i, 2));
}

async function measure(model) {
  const [height, width] = model.size;
  const network = await compile(model, height, width);
  const count = height * width * model.channels;
  const pixels = Uint8Array.from({ length: count }, (_, i) => (i * 97) % 256);
  const times = [];
  for (let i = 0; i <= RUNS; i++) {
    const started = performance.now();
    await network.run(pixels);
    times.push(performance.now() - started);
  }
  network.delete();
  const sorted = times.slice(1).sort((a, b) => a - b);  // the first run warms up
  postMessage({ kind: "latency", ms: sorted[RUNS >> 1], runs: RUNS, threads });
}

/** Returns the tile's length along an axis, and the windows that cover `length`. */
function cover(model, length, axis) {
  const whole = Math.ceil(length / model.step) * model.step;
  const own = model.tile[axis];
  const tile = model.resizable ? Math.min(own, whole) : own;
  const used = tile - (tile % model.step);  // what is beyond a multiple is not
  return { tile, windows: windows(length, used, model.overlap[axis], model.step) };
}

/** As `tfsr.tiling.windows`: where every window begins, and what is used of it. */
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
function cut(pixels, height, width, top, left, tileHeight, tileWidth) {
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
function used(sr, scale, tileWidth, row, column) {
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
