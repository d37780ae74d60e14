// The list of exercises, with the page and place of each: live/course.json of the built site.

import { h } from "./dom.js";
import * as store from "./store.js";

const ROOT = new URL("../../", import.meta.url); // of the site
let loading = null;

/** {exercises: [{id, title, chapter, runtime, version, page}]} in the order of the course. */
export function course() {
  loading ??= fetch(new URL("live/course.json", ROOT)).then((response) => {
    if (!response.ok) throw new Error(`course.json: ${response.status}`);
    return response.json();
  });
  loading.catch(() => { loading = null; });
  return loading;
}

/** The address of a page of the site. */
export const address = (page) => new URL(page, ROOT).href;

/** A line that leads to the next exercise that is not passed yet, or null. */
export async function nextAfter(id) {
  try {
    const { exercises } = await course();
    const kept = store.readProgress().exercises;
    const open = (exercise) => kept[exercise.id]?.best !== "passed" && exercise.page;
    const at = exercises.findIndex((exercise) => exercise.id === id);
    const next = exercises.slice(at + 1).find(open) ?? exercises.find(open);
    if (!next) return h("p", { class: "nc-next" }, "Every exercise of the course is passed.");
    return h("p", { class: "nc-next" }, "Next: ", h("a", { href: address(next.page) }, next.title));
  } catch {
    return null; // offline, or not there: the verdict stands without it
  }
}
