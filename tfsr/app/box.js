// The box: a photo goes to the worker, its tiles come back and are painted.

import { engines } from "./engines.js";
import { originOf } from "./origin.js";
import { viewer } from "./viewer.js";

const MOST_PIXELS = [67108864, 16777216];  // of a canvas: what is tried, and iOS' limit
const FORMATS = { "image/png": "png", "image/jpeg": "jpg" };
const JPEG_QUALITY = 0.95;
const part = (name) => document.getElementById(`box-${name}`);
const say = (text) => (part("status").textContent = text);
const timed = (ms) => (ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const sized = (bytes) =>
  bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;

const here = (file) => new URL(file, import.meta.url);
const { models, choice } = await (await fetch(here("models.json"))).json();
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
  const automatic = choice?.clean[scale] ? [["", "What suits the photo"]] : [];
  list("model", [...automatic, ...names]);
}

/** Returns the model that is asked for or suits the photo, and why. */
async function choose(photo) {
  const name = part("model").value;
  if (name) return { model: models.find((m) => m.name === name), why: name };
  const scale = part("scale").value;
  const { found, lossy, quality } = await originOf(photo, choice);
  const spoiled = lossy && (quality ?? 0) <= choice.lossy_quality;
  const best = (spoiled && choice.lossy[scale]) || choice.clean[scale];
  const warning = spoiled && !choice.lossy[scale] ? `; it ${choice.sharper}` : "";
  const model = models.find((m) => m.name === best);
  return { model, why: `${best}, for ${found}${warning}` };
}

/** Returns whether this browser has a canvas of so many pixels; iOS gives empty ones. */
function holds(width, height) {
  after.width = width;
  after.height = height;
  const context = after.getContext("2d");
  context.fillRect(width - 1, height - 1, 1, 1);
  return context.getImageData(width - 1, height - 1, 1, 1).data[3] === 255;
}

/** Returns the photo, or its middle where the enlargement would be too large. */
async function read(photo, scale) {
  const bitmap = await createImageBitmap(photo);
  const { width, height } = bitmap;
  for (const most of MOST_PIXELS) {
    const share = Math.min(1, Math.sqrt(most / scale ** 2 / (width * height)));
    before.width = Math.max(1, Math.floor(width * share));
    before.height = Math.max(1, Math.floor(height * share));
    if (holds(before.width * scale, before.height * scale)) break;
  }
  after.getContext("2d").clearRect(0, 0, after.width, after.height);
  const context = before.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";  // under what is transparent
  context.fillRect(0, 0, before.width, before.height);
  context.drawImage(bitmap, (before.width - width) >> 1, (before.height - height) >> 1);
  bitmap.close();
  const of = before.width < width ? `the middle of ${width}x${height}, ` : "";
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
    ({ model, why } = await choose(file));
    photo = await read(file, model.scale);
  } catch {
    say(`${file.name}: not a picture that this browser can read.`);
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
  if (part("download").href) save();
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
