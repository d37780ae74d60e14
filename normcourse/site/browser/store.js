// What a reader leaves behind on this site: code, progress, answers. All of it lies in localStorage
// under one prefix; where that is blocked or full, it lives as long as the page and the page says so.

import * as progress from "./progress.js";

const PREFIX = "normcourse:";
const DAMAGED = "damaged:";
const memory = new Map();
const listeners = new Set();
const troubles = new EventTarget();
let said = false;

function area() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null; // blocked: even to ask is refused
  }
}

function trouble(reason) {
  if (said) return;
  said = true;
  const event = new Event("trouble");
  event.reason = reason;
  troubles.dispatchEvent(event);
}

/** Call `tell(reason)` when something could not be kept; at once if that is known already. */
export function onTrouble(tell) {
  troubles.addEventListener("trouble", (event) => tell(event.reason));
  if (!area()) trouble("blocked");
}

function read(key) {
  if (memory.has(key)) return memory.get(key);
  try {
    return area()?.getItem(PREFIX + key) ?? null;
  } catch {
    return null;
  }
}

function write(key, text) {
  try {
    const target = area();
    if (!target) throw new DOMException("no storage", "SecurityError");
    target.setItem(PREFIX + key, text);
    memory.delete(key);
  } catch (error) {
    memory.set(key, text); // kept as long as this page
    trouble(/quota/i.test(error.name) ? "full" : "blocked");
  }
  tell(key);
}

function erase(key) {
  memory.delete(key);
  try {
    area()?.removeItem(PREFIX + key);
  } catch { /* nothing was kept */ }
  tell(key);
}

function tell(key) {
  for (const listener of listeners) listener(key);
}

/** Call `listen(key)` after every change, also one made in another tab. */
export function onChange(listen) {
  listeners.add(listen);
  return () => listeners.delete(listen);
}

globalThis.addEventListener?.("storage", (event) => {
  if (event.key === null) tell("progress"); // everything was cleared
  else if (event.key.startsWith(PREFIX)) tell(event.key.slice(PREFIX.length));
});

/** What was kept under `key`; what cannot be read is put aside, not thrown away. */
function readJson(key, fits) {
  const text = read(key);
  if (text === null) return null;
  try {
    const value = JSON.parse(text);
    if (fits(value)) return value;
  } catch { /* not JSON */ }
  putAside(key, text);
  return null;
}

function putAside(key, text) {
  write(DAMAGED + key, text);
  erase(key);
  trouble("damaged");
}

// ---- code ----

const isCode = (value) => typeof value?.code === "string";

/** What the reader wrote into a cell: {code, version, saved}, or null. */
export const codeOf = (cell) => readJson(`code:${cell}`, isCode);

export function keepCode(cell, code, version) {
  write(`code:${cell}`, JSON.stringify({ code, version, saved: progress.now() }));
}

export const forgetCode = (cell) => erase(`code:${cell}`);

// ---- progress ----

export function readProgress() {
  const text = read("progress");
  if (text === null) return progress.empty();
  try {
    return progress.fromText(text);
  } catch {
    putAside("progress", text);
    return progress.empty();
  }
}

/** Change the progress as it is now, which another tab may have changed since it was shown. */
export function changeProgress(change) {
  write("progress", progress.toText(change(readProgress())));
}

// ---- quizzes ----

export const answerTo = (question) =>
  readJson(`quiz:${question}`, (value) => typeof value === "object" && value !== null);
export const keepAnswer = (question, answer) =>
  write(`quiz:${question}`, JSON.stringify(answer));
export const forgetAnswer = (question) => erase(`quiz:${question}`);

// ---- small settings ----

export const setting = (name) => read(`setting:${name}`);
export const keepSetting = (name, text) => write(`setting:${name}`, text);

// ---- everything, as a file ----

function keys(start) {
  const found = new Set([...memory.keys()]);
  try {
    const target = area();
    for (let i = 0; target && i < target.length; i += 1) {
      const key = target.key(i);
      if (key.startsWith(PREFIX)) found.add(key.slice(PREFIX.length));
    }
  } catch { /* blocked */ }
  return [...found].filter((key) => key.startsWith(start)).sort();
}

/**
 * The text of a file with everything. Its progress is what the command line reads and writes; the
 * command line leaves the rest (code, answers) alone.
 */
export function exported() {
  const page = { code: {}, quiz: {}, damaged: {} };
  for (const [part, start] of [["code", "code:"], ["quiz", "quiz:"], ["damaged", DAMAGED]]) {
    for (const key of keys(start)) page[part][key.slice(start.length)] = read(key);
  }
  const whole = { ...JSON.parse(progress.toText(readProgress())), page };
  return `${JSON.stringify(whole, null, 1)}\n`;
}

/**
 * Add a file to what is kept: progress is merged, code and answers are taken where there are none
 * yet or where the file's are newer. Returns how many exercises are newly passed.
 */
export function imported(text) {
  const other = progress.fromText(text);
  const before = readProgress();
  const after = progress.merged(before, other);
  write("progress", progress.toText(after));
  const page = JSON.parse(text).page ?? {};
  for (const [cell, kept] of Object.entries(page.code ?? {})) takeNewer(`code:${cell}`, kept);
  for (const [question, kept] of Object.entries(page.quiz ?? {})) {
    if (read(`quiz:${question}`) === null) write(`quiz:${question}`, String(kept));
  }
  return Object.keys(after.exercises)
    .filter((id) => progress.passed(after, id) && !progress.passed(before, id)).length;
}

function takeNewer(key, text) {
  const saved = (record) => {
    try {
      const value = JSON.parse(record);
      return isCode(value) ? String(value.saved ?? "") : "";
    } catch {
      return "";
    }
  };
  const own = read(key);
  if (own === null || saved(text) > saved(own)) write(key, String(text));
}

/** Forget everything that this site kept. */
export function forgetAll() {
  for (const key of keys("")) erase(key);
}
