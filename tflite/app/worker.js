"use strict";
// Runs a TFLite model on photographs, away from the page's own thread.
//
// The page sends the model's facts (see tfsr.tflite.devices.browser), an engine (see
// engines.js, always the same) and a photograph: RGBA and its sides. It gets back: `tile`
// for each tile, `done` with the time of the photo, `latency` with that of the network
// alone, or `error`.
//
// It is no module, since LiteRT.js calls importScripts.

const HERE = new URL("./", self.location).href;
const RUNS = 7;  // of the latency, of which the median counts
const PATIENCE_MS = 5000;  // after which no more are begun
const LUMA = Float32Array.of(0.299, 0.587, 0.114);  // of JPEG
const STEP = Math.fround(1 / 255);  // of a file's 8 bits
let litert, tiles;  // modules, once they are loaded

self.onmessage = async ({ data: { model, engine, photo } }) => {
  try {
    tiles ??= await import(`${HERE}tiles.js`);
    litert ??= await load(engine);
    await enlarge(model, engine, photo);
    await measure(model, engine);
  } catch (error) {
    postMessage({ kind: "error", text: String(error.message ?? error) });
  }
};

async function load(engine) {
  const loaded = await import(`${HERE}litert/core.js`);
  self.Module = {
    locateFile: (name) => `${HERE}litert/${name}`,
    mainScriptUrlOrBlob: `${HERE}litert/litert_wasm_threaded_internal.js`,
    printErr: console.debug,  // what LiteRT tells of itself
  };
  await loaded.loadLiteRt(`${HERE}litert/`, engine.load);
  return loaded;
}

/** Returns a network for `height` x `width` pixels: `run` and `delete`. */
async function compile(model, engine, height, width) {
  const response = await fetch(HERE + encodeURIComponent(model.file));
  if (!response.ok) throw new Error(`${model.file}: the server answers ${response.status}`);
  const content = new Uint8Array(await response.arrayBuffer());
  const view = new DataView(content.buffer);
  if (model.resizable) {
    for (const shape of model.shapes) {
      view.setInt32(shape.height, height * shape.factor, true);
      view.setInt32(shape.width, width * shape.factor, true);
    }
  }
  const compiled = await litert.loadAndCompile(content, engine.compile);
  if (engine.compile.accelerator !== "wasm" && !compiled.isFullyAccelerated) {
    compiled.delete();
    throw new Error("the GPU takes only a part of it");
  }
  const { encode, decode } = ENDS[model.ends];
  const run = async (values) => {
    const shape = [1, height, width, model.channels];
    const input = new litert.Tensor(encode(values), shape);
    const [output] = await compiled.run([input]);
    const result = await output.data();
    input.delete();
    output.delete();
    return decode(result);
  };
  return { run, delete: () => compiled.delete() };
}

// By the type of a model's ends: `encode` takes bytes, or floats in [0, 1], to what goes
// in; `decode` takes what comes out to values from 0 to 255, not rounded.
const ENDS = {
  uint8: {
    encode: (v) => (v instanceof Uint8Array ? v : Uint8Array.from(v, (x) => x / STEP + 0.5)),
    decode: (v) => v,
  },
  float32: {
    encode: (v) => (v instanceof Float32Array ? v : Float32Array.from(v, (x) => x / 255)),
    decode: (v) => v.map((x) => 255 * x),
  },
};

async function enlarge(model, engine, photo) {
  const rows = tiles.cover(model, photo.height, 0);
  const columns = tiles.cover(model, photo.width, 1);
  const network = await compile(model, engine, rows.tile, columns.tile);
  const count = rows.windows.length * columns.windows.length;
  const started = performance.now();
  let done = 0;
  for (const row of rows.windows) {
    for (const column of columns.windows) {
      const lr = tiles.cut(photo, row.begin, column.begin, rows.tile, columns.tile);
      const sr = await inColour(model, network, lr);
      const tile = tiles.used(sr, model.scale, columns.tile, row, column);
      postMessage({ kind: "tile", ...tile, done: ++done, count }, [tile.rgba.buffer]);
    }
  }
  const ms = performance.now() - started;
  network.delete();
  postMessage({ kind: "done", ms, count });
}

/** Returns what a model makes of RGB; one of a channel as `tfsr.upscale` applies it. */
async function inColour(model, network, rgb) {
  if (model.channels === 3) return network.run(rgb);
  if (model.luma) {
    const y = luma(rgb);
    const sr = await network.run(y);
    const change = y.map((value, i) => sr[i] - 255 * value);
    return Float32Array.from(rgb, (value, i) => value + change[(i / 3) | 0]);
  }
  const channels = [];
  for (const c of [0, 1, 2]) {
    channels.push(await network.run(rgb.filter((_, i) => i % 3 === c)));
  }
  const length = 3 * channels[0].length;
  return Float32Array.from({ length }, (_, i) => channels[i % 3][(i / 3) | 0]);
}

/** Returns the luma of RGB, in [0, 1] and with every rounding of `tfsr.upscale`. */
function luma(rgb) {
  const part = (i, c) => Math.fround(LUMA[c] * Math.fround(rgb[3 * i + c] / 255));
  return Float32Array.from({ length: rgb.length / 3 }, (_, i) =>
    Math.fround(part(i, 0) + part(i, 1)) + part(i, 2));
}

async function measure(model, engine) {
  const [height, width] = model.size;
  const network = await compile(model, engine, height, width);
  const length = height * width * model.channels;
  const pixels = Uint8Array.from({ length }, (_, i) => (i * 97) % 256);
  await network.run(pixels);  // warms up
  const times = [];
  const begun = performance.now();
  while (!times.length || (times.length < RUNS && performance.now() - begun < PATIENCE_MS)) {
    const started = performance.now();
    await network.run(pixels);
    times.push(performance.now() - started);
  }
  network.delete();
  const ms = times.sort((a, b) => a - b)[times.length >> 1];
  const threads = litert.getGlobalLiteRt().liteRtWasm.getThreadCount();
  postMessage({ kind: "latency", ms, runs: times.length, threads });
}
