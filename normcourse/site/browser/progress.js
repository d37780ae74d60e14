// The progress record: the same rules and the same file as normcourse/checks/progress.py.
// Pure functions over {schema, exercises: {id: entry}}; the tests hold both sides to one another.

export const SCHEMA = 1;
const ORDER = ["not_started", "error", "timeout", "failed", "passed"];
const better = (one, other) => (ORDER.indexOf(one) >= ORDER.indexOf(other) ? one : other);

export const empty = () => ({ schema: SCHEMA, exercises: {} });

/** The time in the file's form. */
export const now = () => `${new Date().toISOString().slice(0, 19)}+00:00`;

const fresh = (version, when) => ({
  version, best: "not_started", last: "not_started", updated: when,
  passed_at: "", attempts: 0, hints: 0,
});

const put = (progress, id, entry) => ({
  ...progress, exercises: { ...progress.exercises, [id]: entry },
});

/** The progress after one more verdict; "not_started" counts as no attempt. */
export function withVerdict(progress, id, version, status, when) {
  const old = progress.exercises[id] ?? fresh(version, when);
  return put(progress, id, {
    ...old,
    version,
    best: better(old.best, status),
    last: status,
    updated: when,
    passed_at: old.passed_at || (status === "passed" ? when : ""),
    attempts: old.attempts + (status === "not_started" ? 0 : 1),
  });
}

/** The progress after `shown` hints of an exercise were read. */
export function withHint(progress, id, version, shown, when) {
  const old = progress.exercises[id] ?? fresh(version, when);
  return put(progress, id, { ...old, hints: Math.max(old.hints, shown), updated: when });
}

export const passed = (progress, id) => progress.exercises[id]?.best === "passed";

/** Both together: the newest verdict counts, a pass is never lost. */
export function merged(one, other) {
  const ids = [...new Set([...Object.keys(one.exercises), ...Object.keys(other.exercises)])];
  const entries = ids.sort().map((id) => [id, mergedEntry(one.exercises[id], other.exercises[id])]);
  return { schema: SCHEMA, exercises: Object.fromEntries(entries) };
}

function mergedEntry(one, other) {
  if (!one || !other) return one ?? other;
  const newest = other.updated > one.updated ? other : one;
  const passes = [one.passed_at, other.passed_at].filter(Boolean).sort();
  return {
    ...newest,
    best: better(one.best, other.best),
    passed_at: passes[0] ?? "",
    attempts: Math.max(one.attempts, other.attempts),
    hints: Math.max(one.hints, other.hints),
  };
}

/** The file's text, byte for byte as the command line writes it. */
export function toText(progress) {
  const names = Object.keys(progress.exercises).sort();
  const ordered = Object.fromEntries(names.map((name) => [name, inOrder(progress.exercises[name])]));
  return `${ascii(JSON.stringify({ schema: SCHEMA, exercises: ordered }, null, 1))}\n`;
}

const ascii = (text) => text.replace(/[^\n -~]/g, (letter) =>
  `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);

const inOrder = ({ version, best, last, updated, passed_at, attempts, hints }) =>
  ({ version, best, last, updated, passed_at, attempts, hints });

/** The progress that a file's text describes; throws an Error that says what is wrong with it. */
export function fromText(text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    throw new Error("it is not JSON");
  }
  if (!isObject(data) || data.schema !== SCHEMA) {
    throw new Error(`it is of schema ${JSON.stringify(data?.schema ?? null)}, expected ${SCHEMA}`);
  }
  if (!isObject(data.exercises)) throw new Error("it has no list of exercises");
  const entries = Object.entries(data.exercises).map(([id, entry]) => {
    if (!isEntry(entry)) throw new Error(`its entry of “${id}” is not one of ours`);
    return [id, inOrder({ passed_at: "", attempts: 0, hints: 0, ...entry })];
  });
  return { schema: SCHEMA, exercises: Object.fromEntries(entries) };
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value) => value === undefined || Number.isInteger(value);

function isEntry(entry) {
  return isObject(entry) && Number.isInteger(entry.version)
    && ORDER.includes(entry.best) && ORDER.includes(entry.last)
    && typeof entry.updated === "string"
    && (entry.passed_at === undefined || typeof entry.passed_at === "string")
    && isCount(entry.attempts) && isCount(entry.hints);
}
