// The worker in which a reader's code runs. The page ends it when the code does not end by itself.

import { runtime } from "./build.js";
import { start } from "./kernel.js";

const here = (name) => new URL(name, import.meta.url).href;

async function begin() {
  const archive = fetch(here("normcourse.zip")).then((response) => {
    if (!response.ok) throw new Error(`normcourse.zip: ${response.status}`);
    return response.arrayBuffer();
  });
  const { loadPyodide } = await import(here(`${runtime}pyodide.mjs`));
  return start({ runtime: here(runtime), archive: new Uint8Array(await archive), loadPyodide });
}

const brief = (error) => String(error?.message ?? error).trim().split("\n").at(-1).slice(0, 300);

try {
  const ask = await begin();
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
