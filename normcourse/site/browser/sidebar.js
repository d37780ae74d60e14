// How far the reader is, beside the pages of the sidebar that hold exercises.

import { address, course } from "./course.js";
import { h } from "./dom.js";
import { passed } from "./progress.js";
import * as store from "./store.js";

/** {page: [passed, of]} for every page that holds cards. */
export function tally(exercises, progress) {
  const pages = new Map();
  for (const { id, page } of exercises) {
    if (!page) continue;
    const key = page.split("#")[0];
    const [done, all] = pages.get(key) ?? [0, 0];
    pages.set(key, [done + passed(progress, id), all + 1]);
  }
  return pages;
}

async function show() {
  const progress = store.readProgress();
  const begun = Object.keys(progress.exercises).length > 0;
  const chips = document.querySelectorAll(".nc-count");
  if (!begun && !chips.length) return; // nothing to show, nothing to load
  const { exercises } = await course();
  const pages = tally(exercises, progress);
  const done = exercises.filter(({ id }) => passed(progress, id)).length;
  pages.set("book/progress.html", [done, exercises.length]);
  const counts = new Map([...pages].map(([page, count]) => [address(page), count]));
  for (const link of document.querySelectorAll(".bd-links a[href]")) {
    const count = counts.get(link.href.split("#")[0]);
    if (count) label(link, count);
  }
}

function label(link, [done, all]) {
  let chip = link.querySelector(".nc-count");
  if (!chip) link.append(" ", chip = h("span", { class: "nc-count" }));
  chip.classList.toggle("nc-all", done === all);
  chip.replaceChildren(
    h("span", { "aria-hidden": "true" }, `${done}/${all}`),
    h("span", { class: "nc-unseen" }, `${done} of ${all} exercises passed`),
  );
}

export function watchSidebar() {
  const quietly = () => show().catch(() => { /* the list did not come: no counts */ });
  quietly();
  store.onChange((key) => { if (key === "progress") quietly(); });
}
