// What can run a model on this device.
//
// An engine is a plain object, which workers can be sent: `title`, shown; `runtime`, the
// part of LiteRT.js' files; `load` and `compile`, as LiteRT.js takes them; `automatic`,
// whether it is tried unasked.

// A function of two vectors that swizzles them, relaxed; most of LiteRT.js wants that.
const RELAXED = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 123, 123, 1, 123, 3, 2, 1, 0],
  ...[10, 11, 1, 9, 0, 32, 0, 32, 1, 253, 128, 2, 11],
);

/** Returns the engines of this device, the one to try first in front. */
export async function engines() {
  const fast = WebAssembly.validate(RELAXED);
  const found = fast && "Suspending" in WebAssembly ? await gpus() : [];
  const wasm = { compile: { accelerator: "wasm" } };
  // Threads share memory, which browsers allow to isolated pages alone.
  const threads = fast && self.crossOriginIsolated && navigator.hardwareConcurrency > 1;
  if (threads) {
    const load = { threads: true };
    const title = "Processor, several threads";
    found.push({ ...wasm, title, runtime: "_threaded", load, automatic: true });
  }
  const runtime = fast ? "" : "_compat";
  const title = "Processor, one thread";
  return [...found, { ...wasm, title, runtime, load: {}, automatic: !threads }];
}

/** Returns the GPU's engines. They want JSPI, without which no int8 runs there. */
async function gpus() {
  const wanted = { powerPreference: "high-performance" };
  const adapter = await navigator.gpu?.requestAdapter(wanted).catch(() => null);
  if (!adapter) return [];
  const { vendor, architecture, isFallbackAdapter } = adapter.info;
  const name = [vendor, architecture].filter(Boolean).join(" ") || "WebGPU";
  const half = adapter.features.has("shader-f16");
  return (half ? [16, 32] : [32, 16]).map((bits, i) => ({
    title: `GPU (${name}), float${bits}`,
    runtime: "_jspi",
    load: { jspi: true },
    compile: { accelerator: "webgpu", gpuOptions: { precision: `fp${bits}` } },
    automatic: i === 0 && !isFallbackAdapter,  // a driver in software is slow
  }));
}
