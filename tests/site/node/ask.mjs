// Answers requests with the runtime of a built site: node ask.mjs LIVE RUNTIME < requests > answers
// One JSON request per line in, one line {answer, printed} per request out; the first line out says
// how long Python took to start.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [live, runtime] = process.argv.slice(2);
const load = (folder, name) => import(pathToFileURL(`${folder}/${name}`).href);
const { start } = await load(live, "kernel.js");
const { loadPyodide } = await load(runtime, "pyodide.mjs");

const begun = performance.now();
const archive = new Uint8Array(readFileSync(`${live}/normcourse.zip`));
const ask = await start({ runtime: `${runtime}/`, archive, loadPyodide });
console.log(JSON.stringify({ seconds: (performance.now() - begun) / 1000 }));

for await (const line of createInterface({ input: process.stdin })) {
  let printed = "";
  const answer = JSON.parse(ask(line, (text) => { printed += text; }));
  console.log(JSON.stringify({ answer, printed }));
}
