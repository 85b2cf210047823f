"use strict";
// Keeps the site on the device, and lets it use threads wherever it is served from.
//
// A new version is fetched whole beside the old one, and taken once no page of that is
// open. LiteRT.js is kept as it is asked for: each browser needs one or two of its parts.

importScripts("files.js");  // SITE
const { scope } = self.registration;
const OURS = ` of ${scope}`;  // sites of other folders share the host's caches
const PAGES = `site ${self.SITE.version}${OURS}`;
const RUNTIME = `litert ${self.SITE.runtime.version}${OURS}`;

self.addEventListener("install", (event) => {
  const wanted = self.SITE.files.map((name) => new Request(name, { cache: "no-cache" }));
  event.waitUntil(caches.open(PAGES).then((kept) => kept.addAll(wanted)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(forget().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(scope)) event.respondWith(answer(event.request));
});

/** Deletes what other versions of this site kept. */
async function forget() {
  const names = await caches.keys();
  const ours = names.filter((name) => name.endsWith(OURS));
  const old = ours.filter((name) => name !== PAGES && name !== RUNTIME);
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function answer(request) {
  const ofRuntime = request.url.startsWith(`${scope}${self.SITE.runtime.start}`);
  const kept = await caches.open(ofRuntime ? RUNTIME : PAGES);
  let response = await kept.match(request, { ignoreSearch: true });
  if (!response) {
    response = await fetch(request);
    if (ofRuntime && response.ok) await kept.put(request, response.clone());
  }
  return isolated(response);
}

/** Returns a response with the headers that allow a page threads. */
function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  const { body, status, statusText } = response;
  return new Response(body, { status, statusText, headers });
}
