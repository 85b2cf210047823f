"use strict";
// The box: a photo goes to the worker, its tiles come back and are painted.
{
  const MOST_PIXELS = 16777216;  // of a canvas on iOS
  const part = (name) => document.getElementById(name);
  const model = JSON.parse(part("try-model").textContent);
  const chooser = part("photo"), drop = part("drop"), status = part("try-status");
  const before = part("try-before"), after = part("try-after");
  const progress = part("try-progress"), download = part("try-download");
  const timed = (ms) => (ms < 1000 ? `${ms.toFixed(1)} ms` : `${(ms / 1000).toFixed(2)} s`);
  let worker, painting, saved;

  const fail = (text) => {
    status.textContent = text;
    progress.hidden = true;
    chooser.disabled = false;
  };

  const answers = {
    tile({ rgba, height, width, top, left, share }) {
      painting.putImageData(new ImageData(rgba, width, height), left, top);
      progress.value = share;
    },
    done({ ms, tiles }) {
      part("try-whole").textContent = `${timed(ms)}, ${tiles} tile${tiles > 1 ? "s" : ""}`;
      status.textContent = "Measuring the network alone …";
      progress.hidden = true;
      saved = save();
    },
    async latency({ ms, runs, threads }) {
      part("try-network").textContent = `${timed(ms)}, median of ${runs} runs`;
      part("try-device").textContent =
        `${threads} thread${threads > 1 ? "s" : ""} of WebAssembly; ${navigator.userAgent}`;
      await saved;
      status.textContent = "Done.";
      chooser.disabled = false;
    },
    error({ text }) {
      fail(`The model could not be run: ${text}`);
    },
  };

  async function save() {
    const png = await new Promise((resolve) => after.toBlob(resolve, "image/png"));
    URL.revokeObjectURL(download.href);
    download.href = URL.createObjectURL(png);
  }

  function start() {
    worker = new Worker("try/worker.js");
    worker.onmessage = ({ data }) => answers[data.kind](data);
    worker.onerror = (event) => fail(`The model could not be run: ${event.message}`);
  }

  /** Returns the photo, or its middle where the enlargement would be too large. */
  async function read(file) {
    const photo = await createImageBitmap(file);
    const { width, height } = photo;
    const most = MOST_PIXELS / model.scale ** 2;
    const share = Math.min(1, Math.sqrt(most / (width * height)));
    before.width = Math.max(1, Math.floor(width * share));
    before.height = Math.max(1, Math.floor(height * share));
    const context = before.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";  // under what is transparent
    context.fillRect(0, 0, before.width, before.height);
    context.drawImage(photo, -((width - before.width) >> 1), -((height - before.height) >> 1));
    photo.close();
    const of = share < 1 ? `the middle of ${width}x${height}, ` : "";
    part("try-photo").textContent = `${of}${before.width}x${before.height} pixels`;
    return context.getImageData(0, 0, before.width, before.height).data;
  }

  async function run(file) {
    if (chooser.disabled) return;
    let pixels;
    try {
      pixels = await read(file);
    } catch {
      fail(`${file.name}: not a picture that this browser can read.`);
      return;
    }
    chooser.disabled = true;
    if (!worker) start();
    const { height, width } = before;
    after.width = width * model.scale;
    after.height = height * model.scale;
    painting = after.getContext("2d");
    after.closest(".stage").style.aspectRatio = `${width} / ${height}`;
    after.closest(".compare").style.setProperty("--width", `${after.width}px`);
    part("try-size").textContent = `${model.size[1]}x${model.size[0]}`;
    for (const name of ["network", "whole", "device"]) part(`try-${name}`).textContent = "…";
    part("try-result").hidden = progress.hidden = false;
    progress.value = 0;
    status.textContent = "Running the model …";
    worker.postMessage({ model, pixels, height, width }, [pixels.buffer]);
  }

  if (location.protocol === "file:") {
    part("try-offline").hidden = false;
    drop.hidden = true;
  }
  chooser.addEventListener("change", () => {
    if (chooser.files.length) run(chooser.files[0]);
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) run(event.dataTransfer.files[0]);
  });
}
