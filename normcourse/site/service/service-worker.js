// Keeps the site for times without a network. The build writes the list of files in front of this.
//
// With a network, pages come from it: always the newest. Without one, or when it takes too long,
// they come from here, all of one version. Files are kept under the hash of their content, so that
// a new version fetches what changed and nothing that arrived broken is ever kept.

/* global FILES -- {core: {path: [hash, bytes]}, python: {path: [hash, bytes]}} */

const SCOPE = new URL(self.registration.scope).pathname;
const STORE = `normcourse ${SCOPE}`;
const PATIENCE = 5000; // milliseconds for the network, where we have the file ourselves
const AT_ONCE = 4; // files fetched side by side
const IMMUTABLE = /^live\/[^/]+\//; // the folder's name changes with its content

const entry = (path) => FILES.core[path] ?? FILES.python[path] ?? null;
const keyOf = (path) => `${SCOPE}${path}?sha256=${entry(path)[0]}`;

async function kept(path) {
  if (!entry(path)) return undefined;
  return (await caches.open(STORE)).match(keyOf(path));
}

async function hashOf(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest.slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Keep a response, if it is what the list says. */
async function keep(path, response) {
  const bytes = await response.arrayBuffer();
  if (!response.ok || (await hashOf(bytes)) !== entry(path)[0]) return false;
  const { headers } = response;
  const copy = new Response(bytes, { headers: { "content-type": headers.get("content-type") ?? "" } });
  await (await caches.open(STORE)).put(keyOf(path), copy);
  return true;
}

async function fetchAndKeep(path) {
  if (await kept(path)) return;
  try {
    await keep(path, await fetch(SCOPE + path, { cache: "no-cache" }));
  } catch { /* no network, no room: this file is not there offline */ }
}

async function keepAll(list) {
  const paths = Object.keys(list);
  const lane = async () => {
    while (paths.length) await fetchAndKeep(paths.shift());
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

async function dropOld() {
  const store = await caches.open(STORE);
  const wanted = new Set([...Object.keys(FILES.core), ...Object.keys(FILES.python)].map(keyOf));
  for (const request of await store.keys()) {
    const url = new URL(request.url);
    if (!wanted.has(url.pathname + url.search)) await store.delete(request);
  }
}

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(keepAll(FILES.core));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(dropOld().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const ours = url.origin === self.location.origin && url.pathname.startsWith(SCOPE);
  if (event.request.method !== "GET" || !ours || event.request.headers.has("range")) return;
  let path = decodeURIComponent(url.pathname.slice(SCOPE.length));
  if (path === "" || path.endsWith("/")) path += "index.html";
  event.respondWith(IMMUTABLE.test(path) ? keptFirst(event, path) : networkFirst(event, path));
});

async function keptFirst(event, path) {
  const own = await kept(path);
  if (own) return own;
  const response = await fetch(event.request);
  if (entry(path)) event.waitUntil(keep(path, response.clone()).catch(() => false));
  return response;
}

async function networkFirst(event, path) {
  const network = fetch(event.request);
  const own = await kept(path);
  if (!own) return network;
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(resolve, PATIENCE, own); });
  const answer = network.then((response) => (response.status >= 500 ? own : response), () => own);
  return Promise.race([answer, late]).finally(() => clearTimeout(timer));
}

async function countOf(list) {
  const missing = [];
  for (const path of Object.keys(list)) if (!(await kept(path))) missing.push(path);
  const all = Object.keys(list).length;
  const bytes = missing.reduce((sum, path) => sum + list[path][1], 0);
  return { all, kept: all - missing.length, bytes };
}

self.addEventListener("message", (event) => {
  const { type } = event.data;
  if (type === "keep-python") event.waitUntil(keepAll(FILES.python));
  if (type === "keep-all") event.waitUntil(keepAll(FILES.core).then(() => keepAll(FILES.python)));
  if (type === "state") {
    const answer = Promise.all([countOf(FILES.core), countOf(FILES.python)])
      .then(([pages, python]) => event.ports[0].postMessage({ pages, python }));
    event.waitUntil(answer);
  }
});
