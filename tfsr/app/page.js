// The page around the box: kept on the device, isolated, installable.

import { engines } from "./box/engines.js";

const say = (text) => (document.getElementById("page-state").textContent = text);
const install = document.getElementById("page-install");
const untouched = () => document.getElementById("box-result").hidden;

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
  // The list of files is asked for anew, too, so that a new version is seen at once.
  await serviceWorker.register("service_worker.js", { updateViaCache: "none" });
  await serviceWorker.ready;
  if (self.crossOriginIsolated) {
    sessionStorage.removeItem("isolating");
  } else if (!sessionStorage.isolating && untouched()) {
    // The headers of isolation come with the first answer of the service worker.
    sessionStorage.isolating = "tried";
    location.reload();
    return;
  }
  if (!serviceWorker.controller) {
    say("Opened once more, this page works offline.");
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
