// The progress page: every exercise with its mark, and the file that carries it elsewhere.

import { address, course } from "./course.js";
import { h } from "./dom.js";
import { offlineControls } from "./offline.js";
import { passed } from "./progress.js";
import * as store from "./store.js";

const FILE = "normcourse-progress.json";
const counted = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

export async function overview(place) {
  const table = h("div", {});
  const said = h("p", { class: "nc-state", role: "status" });
  place.replaceChildren(table, tools(said), said, offlineControls());
  const show = async () => {
    try {
      const { chapters, exercises } = await course();
      table.replaceChildren(...rows(chapters, exercises, store.readProgress()));
    } catch {
      table.replaceChildren(h("p", {}, "The list of exercises did not arrive. Load the page again."));
    }
  };
  store.onChange((key) => { if (key === "progress") show(); });
  await show();
}

function rows(chapters, exercises, progress) {
  const done = exercises.filter(({ id }) => passed(progress, id)).length;
  const entries = exercises.map(({ id }) => progress.exercises[id]).filter(Boolean);
  const tried = entries.filter((entry) => entry.attempts > 0).length;
  const hints = entries.reduce((sum, entry) => sum + entry.hints, 0);
  const bar = h("progress", { class: "nc-bar", max: exercises.length, value: done, "aria-label": "Exercises passed" });
  const facts = `${done} of ${exercises.length} exercises passed, ${tried} tried, `
    + `${counted(hints, "hint")} read.`;
  return [h("p", { class: "nc-facts-line" }, facts), bar,
    ...chapters.map((chapter) => section(chapter, exercises, progress))];
}

function section({ notebook, title }, exercises, progress) {
  const own = exercises.filter((exercise) => exercise.chapter === notebook);
  const done = own.filter(({ id }) => passed(progress, id)).length;
  return h("section", { class: "nc-chapter", "aria-label": title },
    h("h2", {}, `${notebook.slice(0, 2)} `, title,
      h("span", { class: "nc-of" }, ` ${done} of ${own.length}`)),
    h("ul", { class: "nc-exercises" }, ...own.map((exercise) => row(exercise, progress))));
}

function row({ id, title, page, version, runtime }, progress) {
  const entry = progress.exercises[id];
  const state = !entry || entry.best === "not_started" ? "open" : entry.best === "passed" ? "done" : "tried";
  const mark = { open: "·", tried: "✗", done: "✓" }[state];
  const word = { open: "not started", tried: "tried", done: "passed" }[state];
  const facts = [word];
  if (entry?.attempts) facts.push(counted(entry.attempts, "attempt"));
  if (entry?.hints) facts.push(counted(entry.hints, "hint"));
  if (entry && entry.version !== version) facts.push("it has changed since");
  if (runtime === "torch") facts.push("PyTorch");
  return h("li", { class: `nc-is-${state}` },
    h("span", { class: "nc-dot", "aria-hidden": "true" }, mark),
    page ? h("a", { href: address(page) }, title) : title,
    h("span", { class: "nc-row-facts" }, facts.join(" · ")));
}

function tools(said) {
  const button = (label, run, kind = "") =>
    h("button", { class: `nc-button ${kind}`, type: "button", onclick: run }, label);
  const file = h("input", { type: "file", accept: ".json,application/json", class: "nc-unseen", id: "nc-import", tabindex: "-1", "aria-hidden": "true" });
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    try {
      const fresh = store.imported(await chosen.text());
      said.textContent = `Read ${chosen.name}. New here: ${fresh} passed. Nothing was lost.`;
    } catch (error) {
      said.textContent = `${chosen.name} was not read: ${error.message}. Nothing was changed.`;
    }
    file.value = "";
  });
  const sure = h("span", { class: "nc-sure", hidden: true },
    "Code, answers and progress of this browser? ",
    button("Forget all of it", () => {
      store.forgetAll();
      sure.hidden = true;
      said.textContent = "Everything that this site kept in this browser is gone.";
      forget.focus();
    }),
    button("Keep it", () => {
      sure.hidden = true;
      forget.focus();
    }));
  const forget = button("Forget everything", () => {
    sure.hidden = false;
    sure.querySelector("button:last-child").focus();
  }, "nc-quiet");
  return h("div", { class: "nc-tools", role: "group", "aria-label": "Your file" },
    button("Export to a file", () => download(), "nc-main"),
    button("Import a file", () => file.click()),
    file, forget, sure);
}

function download() {
  const link = h("a", { download: FILE });
  link.href = URL.createObjectURL(new Blob([store.exported()], { type: "application/json" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
