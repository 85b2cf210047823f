// The page around the box: kept on the device, isolated, installable.

import { engines } from "./box/engines.js";

const say = (text) => (document.getElementById("page-state").textContent = text);
const install = document.getElementById("page-install");
const photos = ["photo", "camera"].map((id) => document.getElementById(id));

/** Fetches what the box will ask for, which the service worker keeps. */
async function keepRuntime() {
  for (const { runtime } of (await engines()).filter((engine) => engine.automatic)) {
    for (const ending of ["js", "wasm"]) {
      const answer = await fetch(`box/litert/litert_wasm${runtime}_internal.${ending}`);
      await answer.arrayBuffer();
    }
  }
}

async function keep() {
  if (!navigator.serviceWorker) {
    say("Over HTTPS this page could be installed, work offline and use all processors.");
    return;
  }
  const { serviceWorker } = navigator;
  const controlled = new Promise((done) => {
    if (serviceWorker.controller) done();
    serviceWorker.addEventListener("controllerchange", done, { once: true });
  });
  await serviceWorker.register("service_worker.js");
  await controlled;
  // The headers of isolation come with the first answer of the service worker.
  const untouched = photos.every((input) => !input.files.length);
  if (!self.crossOriginIsolated && untouched && !sessionStorage.isolating) {
    sessionStorage.isolating = "tried";
    location.reload();
    return;
  }
  await keepRuntime();
  say("Works offline.");
}

addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  install.hidden = false;
  install.onclick = () => event.prompt();
});
addEventListener("appinstalled", () => (install.hidden = true));
keep().catch((error) => say(`Not kept for offline use: ${error.message}`));
