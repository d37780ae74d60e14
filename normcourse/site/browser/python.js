// The page's side of Python: one worker, started when somebody needs it, ended when code hangs.

import { runtime, why } from "./build.js";

export const LIMIT = 15_000; // milliseconds for one run, from the moment it begins
const START_LIMIT = 180_000; // without a sign of life while it loads

export const available = runtime !== null;
export const reason = why;

/** The browser can run modules in a worker (Chrome 80, Firefox 114, Safari 15 and later can). */
function modernWorkers() {
  let asked = false;
  const options = { get type() { asked = true; return "module"; } };
  try {
    new Worker("data:text/javascript,", options).terminate();
  } catch { /* asking is enough */ }
  return asked && typeof WebAssembly === "object";
}

let worker = null;
let state = "off"; // off, starting, ready
let startTimer = 0;
let queue = [];
let job = null;
const watchers = new Set();

/** Call `watch(state)` whenever Python starts, is ready, or is gone. */
export function onState(watch) {
  watchers.add(watch);
  watch(state);
}

function become(next) {
  state = next;
  for (const watch of watchers) watch(state);
}

/** Start Python, if it is not there yet, so that it is ready when a button is pressed. */
export function warm() {
  if (!available || worker) return;
  if (!modernWorkers()) {
    failAll("old");
    return;
  }
  become("starting");
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => heard(data);
  worker.onerror = (event) => {
    event.preventDefault();
    lost(state === "ready" ? "died" : "broken", event.message ?? "");
  };
  startTimer = setTimeout(() => lost("broken", "nothing came"), START_LIMIT);
}

function heard(message) {
  if (message.type === "ready") {
    clearTimeout(startTimer);
    become("ready");
    next();
  } else if (message.type === "broken") {
    lost("broken", message.message);
  } else if (job && message.id === job.id) {
    if (message.type === "begun") {
      job.timer = setTimeout(() => lost("timeout"), LIMIT);
      job.begun();
    } else if (message.type === "printed") {
      job.print(message.text);
    } else if (message.type === "done") {
      finish({ ok: true, value: JSON.parse(message.result) });
    } else if (message.type === "died") {
      lost("died", message.message);
    }
  }
}

function end() {
  clearTimeout(startTimer);
  worker?.terminate();
  worker = null;
  become("off");
}

/** The worker is gone or must go: end it, tell the job that ran, go on with those that waited. */
function lost(how, message = "") {
  end();
  if (how === "broken") {
    failAll(how, message);
    return;
  }
  finish({ ok: false, how, message });
  if (queue.length) warm();
}

function failAll(how, message = "") {
  const waiting = job ? [job, ...queue] : queue;
  job = null;
  queue = [];
  for (const each of waiting) each.resolve({ ok: false, how, message });
}

function finish(outcome) {
  const done = job;
  job = null;
  clearTimeout(done?.timer);
  done?.resolve(outcome);
  next();
}

function next() {
  if (job || state !== "ready" || !queue.length) return;
  job = queue.shift();
  worker.postMessage({ id: job.id, request: JSON.stringify(job.request) });
}

let count = 0;

/**
 * Run a request and return {ok, value} or {ok: false, how, message}, where how is one of
 * timeout, stopped, died, broken, old. The promise never rejects.
 */
export function ask(request, { print = () => {}, begun = () => {} } = {}) {
  return new Promise((resolve) => {
    count += 1;
    queue.push({ id: count, request, print, begun, resolve, timer: 0 });
    warm();
    next();
  });
}

/** Stop what runs or waits; Python is ended and starts again when it is needed. */
export function stop() {
  if (job) {
    end();
    finish({ ok: false, how: "stopped" });
  } else {
    failAll("stopped");
  }
  if (queue.length) warm();
}
