// The page around the box: kept on the device, isolated, installable.

const say = (text) => (document.getElementById("page-state").textContent = text);
const install = document.getElementById("page-install");
const untouched = () => document.getElementById("box-result").hidden;

/** Fetches what the box will ask for, which the service worker keeps. */
async function keepRuntime() {
  const { engines } = await import("./box/engines.js");
  for (const { runtime } of (await engines()).filter((engine) => engine.automatic)) {
    for (const ending of ["js", "wasm"]) {
      const file = `box/litert/litert_wasm${runtime}_internal.${ending}`;
      const answer = await fetch(file);
      if (!answer.ok) throw new Error(`${file}: the server answers ${answer.status}`);
      await answer.arrayBuffer();
    }
  }
}

/** Waits until the service worker of a registration is active. */
async function active({ active, waiting, installing }) {
  const worker = active ?? waiting ?? installing;
  while (worker.state !== "activated") {
    if (worker.state === "redundant") throw new Error("a file of the site cannot be had");
    await new Promise((done) => {
      worker.addEventListener("statechange", done, { once: true });
    });
  }
}

async function keep() {
  if (!navigator.serviceWorker) {
    say("Over HTTPS this page could be installed, work offline and use all processors.");
    return;
  }
  const { serviceWorker } = navigator;
  // The list of files is asked for anew, too, so that a new version is seen at once.
  await active(
    await serviceWorker.register("service_worker.js", { updateViaCache: "none" }),
  );
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
keep().catch((error) => say(`Not kept for offline use: ${error.message}.`));
import("./box/box.js").catch((error) => {
  document.getElementById("box-absent").textContent = `It cannot run: ${error.message}`;
});
