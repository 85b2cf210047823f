// The box: a photo goes to the worker, its tiles come back and are painted.

import { enlargerOf, restorerOf } from "./choosing.js";
import { engines } from "./engines.js";
import { viewer } from "./viewer.js";

// Pixels and side of a canvas: what is tried, Firefox' side, iOS' pixels. A JPEG of
// browsers has no longer side than the first.
const LIMITS = [[67108864, 65500], [67108864, 32767], [16777216, 32767]];
const FORMATS = { "image/png": "png", "image/jpeg": "jpg" };
const JPEG_QUALITY = 0.95;
const part = (name) => document.getElementById(`box-${name}`);
const say = (text) => (part("status").textContent = text);
const timed = (ms) => (ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const sized = (bytes) =>
  bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;

const here = (file) => new URL(file, import.meta.url);
const listed = await fetch(here("models.json"));
if (!listed.ok) throw new Error(`models.json: the server answers ${listed.status}`);
const { models, choice } = await listed.json();
const known = await engines();
const show = viewer(part("viewer"));
const before = part("before"), after = part("after");
const inputs = ["photo", "camera"].map((id) => document.getElementById(id));
const options = ["scale", "model", "engine"].map(part);
let worker, owner;  // a worker has one engine, which owns it
let file;  // the photo that is shown, or being worked on
let busy = false, stopped = false;

/** Fills a list; one with a single entry is of no use and hidden. */
function list(name, entries) {
  const select = part(name);
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  select.parentElement.hidden = entries.length < 2;
}

function listModels() {
  const scale = Number(part("scale").value);
  const names = models.filter((m) => m.scale === scale).map((m) => [m.name, m.title]);
  const automatic = choice && names.length ? [["", "What suits the photo"]] : [];
  list("model", [...automatic, ...names]);
}

const named = (name) => models.find((model) => model.name === name);

/** Returns the model that is asked for or suits the photo, and why. */
async function choose(photo) {
  const name = part("model").value;
  if (name) return { model: named(name), why: name };
  const scale = Number(part("scale").value);
  const suited =
    scale === 1
      ? await restorerOf(file, photo, choice)
      : await enlargerOf(file, scale, choice);
  return { model: named(suited.name), why: suited.why };
}

/** Returns whether this browser has such a canvas; iOS gives empty ones, others fail. */
function holds(width, height) {
  after.width = width;
  after.height = height;
  const context = after.getContext("2d");
  try {
    context.fillRect(width - 1, height - 1, 1, 1);
    return context.getImageData(width - 1, height - 1, 1, 1).data[3] === 255;
  } catch {
    return false;
  }
}

/** Returns the photo, or its middle where the enlargement would be too large. */
async function read(photo, scale) {
  const bitmap = await createImageBitmap(photo).catch(() => {
    throw new Error("not a picture that this browser can read.");
  });
  const { width, height } = bitmap;
  const held = LIMITS.some(([pixels, side]) => {
    const sides = [width, height].map((n) => Math.min(n, Math.floor(side / scale)));
    const share = Math.min(1, Math.sqrt(pixels / scale ** 2 / (sides[0] * sides[1])));
    const [w, h] = sides.map((n) => Math.max(1, Math.floor(n * share)));
    before.width = w;
    before.height = h;
    return holds(w * scale, h * scale);
  });
  if (!held) throw new Error("not to be shown by this browser, which has too little memory.");
  after.getContext("2d").clearRect(0, 0, after.width, after.height);
  const context = before.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";  // under what is transparent
  context.fillRect(0, 0, before.width, before.height);
  context.drawImage(bitmap, (before.width - width) >> 1, (before.height - height) >> 1);
  bitmap.close();
  const cut = before.width < width || before.height < height;
  const of = cut ? `the middle of ${width}x${height}, ` : "";
  part("photo").textContent = `${of}${before.width}x${before.height} pixels`;
  const { data } = context.getImageData(0, 0, before.width, before.height);
  return { pixels: data, height: before.height, width: before.width };
}

/** Has a worker do a photo; resolves once all is painted and timed. */
function work(engine, model, photo) {
  if (owner !== engine.title) {
    worker?.terminate();
    worker = new Worker(here("worker.js"));
    owner = engine.title;
  }
  const painting = after.getContext("2d");
  let saved;
  return new Promise((resolve, reject) => {
    const fail = (text) => {
      worker.terminate();
      owner = null;
      reject(new Error(text));
    };
    part("stop").onclick = () => {
      stopped = true;
      fail("stopped");
    };
    const answers = {
      tile({ rgba, height, width, top, left, done, count }) {
        painting.putImageData(new ImageData(rgba, width, height), left, top);
        part("progress").value = done / count;
        say(`${plural(done, "tile")} of ${count} …`);
      },
      done({ ms, count }) {
        part("whole").textContent = `${timed(ms)}, ${plural(count, "tile")}`;
        say("Measuring the network alone …");
        saved = save();
      },
      async latency({ ms, runs, threads }) {
        part("network").textContent = `${timed(ms)}, median of ${plural(runs, "run")}`;
        await saved;
        resolve(threads);
      },
      error: ({ text }) => fail(text),
    };
    worker.onmessage = async ({ data }) => {
      try {
        await answers[data.kind](data);
      } catch (error) {
        fail(error.message);
      }
    };
    worker.onerror = (event) => fail(event.message);
    worker.postMessage({ model, engine, photo });
  });
}

/** Offers what is painted as a file. */
async function save() {
  const type = part("format").value, link = part("download");
  const image = await new Promise((done) => after.toBlob(done, type, JPEG_QUALITY));
  if (!image) throw new Error(`this browser cannot write it as ${FORMATS[type]}`);
  const scale = after.width / before.width;
  const suffix = scale > 1 ? `x${scale}` : "restored";
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(image);
  link.download = `${file.name.replace(/\.\w+$/, "")}_${suffix}.${FORMATS[type]}`;
  const format = FORMATS[type] === "png" ? "PNG, without loss" : "JPEG";
  part("file").textContent =
    `${link.download}: ${format}, ${after.width}x${after.height} pixels, ${sized(image.size)}`;
}

/** Has the first engine that can do a photo; those unasked are tried in turn. */
async function attempt(model, photo) {
  const asked = known[part("engine").value];
  const tried = asked ? [asked] : known.filter((engine) => engine.automatic);
  const refused = [];
  for (const engine of tried) {
    try {
      part("progress").value = 0;
      const threads = await work(engine, model, photo);
      const way = engine.load.jspi
        ? engine.title
        : `${plural(threads, "thread")} of WebAssembly`;
      part("device").textContent = [way, navigator.userAgent, ...refused].join("; ");
      return;
    } catch (error) {
      refused.push(`not on ${engine.title}: ${error.message}`);
      if (stopped || engine === tried.at(-1)) throw error;
    }
  }
}

async function run() {
  let model, why, photo;
  try {
    photo = await read(file, Number(part("scale").value));
    ({ model, why } = await choose(photo));
  } catch (error) {
    part("result").hidden = true;
    say(`${file.name}: ${error.message}`);
    return;
  }
  part("choice").textContent = why;
  part("size").textContent =
    `${model.size[1]}x${model.size[0]} pixels${model.channels === 1 ? " of one channel" : ""}`;
  for (const name of ["network", "whole", "device"]) part(name).textContent = "…";
  part("download").removeAttribute("href");
  part("file").textContent = "";
  part("result").hidden = part("working").hidden = false;
  show();
  say("Loading the model …");
  part("status").scrollIntoView();
  try {
    await attempt(model, photo);
    say("Done.");
  } catch (error) {
    say(stopped ? "Stopped." : `The model could not be run: ${error.message}`);
  }
}

/** Does the photo, and nothing else meanwhile. */
async function start() {
  if (!file || busy) return;
  busy = true;
  stopped = false;
  for (const element of [...inputs, ...options]) element.disabled = true;
  try {
    await run();
  } finally {
    part("working").hidden = true;
    for (const element of [...inputs, ...options]) element.disabled = false;
    busy = false;
  }
}

function take(photos) {
  if (!photos.length || busy) return;
  file = photos[0];
  part("format").value = file.type === "image/jpeg" ? "image/jpeg" : "image/png";
  start();
}

const scales = [...new Set(models.map((m) => m.scale))].sort((a, b) => a - b);
const enlarging = scales.filter((scale) => scale > 1).map((s) => [s, `${s} times as large`]);
list("scale", [...enlarging, ...(scales[0] === 1 ? [[1, "The same, restored"]] : [])]);
listModels();
const several = known.length > 1 ? known : [];
list("engine", [["", "Automatic"], ...several.map((engine, i) => [i, engine.title])]);

part("scale").addEventListener("change", listModels);
for (const select of options) select.addEventListener("change", start);
part("format").addEventListener("change", () => {
  if (part("download").href) save().catch((error) => say(error.message));
});
for (const input of inputs) input.addEventListener("change", () => take(input.files));
const drop = document.getElementById("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
document.getElementById("box-absent").remove();
document.getElementById("box").hidden = false;
