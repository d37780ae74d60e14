// The worker in which a reader's code runs. The page ends it when the code does not end by itself.

import { runtime, sizes } from "./build.js";
import { start } from "./kernel.js";

const here = (name) => new URL(name, import.meta.url).href;
const brief = (error) => String(error?.message ?? error).trim().split("\n").at(-1).slice(0, 300);

// A file that is missing or cut would leave Pyodide waiting for ever: what comes is measured.
const plainFetch = self.fetch.bind(self);

async function wholeFile(request, options) {
  const name = new URL(request.url ?? request, self.location.href).pathname.split("/").at(-1);
  if (!(name in sizes)) return plainFetch(request, options);
  const response = await plainFetch(request, options).catch((error) =>
    broken(new Error(`${name}: ${brief(error)}`)));
  const bytes = response.ok ? await response.arrayBuffer() : null;
  if (bytes?.byteLength !== sizes[name]) {
    const what = bytes ? `${bytes.byteLength} of ${sizes[name]} bytes came` : response.status;
    broken(new Error(`${name}: ${what}`));
  }
  return new Response(bytes, { headers: response.headers });
}

let ready = false;

function broken(error) {
  if (!ready) self.postMessage({ type: "broken", message: brief(error) });
  throw error;
}

self.addEventListener("unhandledrejection", (event) => {
  if (!ready) self.postMessage({ type: "broken", message: brief(event.reason) });
});

async function begin() {
  self.fetch = wholeFile;
  const archive = fetch(here("normcourse.zip")).then((response) => response.arrayBuffer());
  const { loadPyodide } = await import(here(`${runtime}pyodide.mjs`));
  return start({ runtime: here(runtime), archive: new Uint8Array(await archive), loadPyodide });
}

try {
  const ask = await begin();
  ready = true;
  self.onmessage = ({ data: { id, request } }) => {
    self.postMessage({ type: "begun", id });
    try {
      const result = ask(request, (text) => self.postMessage({ type: "printed", id, text }));
      self.postMessage({ type: "done", id, result });
    } catch (error) {
      self.postMessage({ type: "died", id, message: brief(error) }); // Python itself is broken
    }
  };
  self.postMessage({ type: "ready" });
} catch (error) {
  self.postMessage({ type: "broken", message: brief(error) });
}
