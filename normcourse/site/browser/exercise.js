// The live cell of an exercise: Check asks the same judge as the notebook, in the same words.

import { Cell, stopped } from "./cell.js";
import { nextAfter } from "./course.js";
import { h } from "./dom.js";
import { verdict } from "./feedback.js";
import * as progress from "./progress.js";
import * as store from "./store.js";

export class ExerciseCell extends Cell {
  constructor(card) {
    const { exercise, version } = card.dataset;
    super({
      place: card.querySelector("[data-part=stub]"),
      id: exercise, version: Number(version), name: `the exercise ${exercise}`,
    });
    this.card = card;
    this.exercise = exercise;
    this.checkButton = this.button("Check", () => this.check(),
      { class: "nc-button nc-start nc-main" });
    this.runButton = this.button("Run", () => this.run(), { class: "nc-button nc-start" });
    this.tools.append(
      this.checkButton, this.runButton, this.stopButton, this.resetButton, this.state,
    );
    this.keysHelp.append(
      "Ctrl+Enter checks, Shift+Enter runs. Esc, then Tab leaves the editor.",
    );
  }

  keys() {
    return { "Mod-Enter": () => this.check(), "Shift-Enter": () => this.run() };
  }

  async run() {
    const value = await this.ask({ do: "run" }, this.runButton);
    if (!value) return;
    if (value.stopped) this.show(stopped(value.stopped));
    else if (this.printed.hidden) this.say("It ran and printed nothing. Add a line that calls it.");
  }

  async check() {
    const value = await this.ask({ do: "check", exercise: this.exercise }, this.checkButton);
    if (!value) return;
    const { status } = value.feedback;
    this.note(status);
    const box = h("div", { class: `nc-verdict-box nc-${status}` });
    box.append(...verdict(value, {
      insight: status === "passed" ? this.insight() : null,
      after: status === "passed" ? [] : this.guidance(value.feedback),
    }));
    this.show(box);
    if (status === "passed") nextAfter(this.exercise).then((link) => link && box.append(link));
  }

  failed(request, { how }) {
    if (request.do === "check" && how === "timeout") this.note("timeout");
    if (request.do === "check" && how === "died") this.note("error");
  }

  /** Write the verdict down; an exercise that was never begun leaves no trace. */
  note(status) {
    const known = store.readProgress().exercises[this.exercise];
    if (status === "not_started" && !known) return;
    store.changeProgress((kept) =>
      progress.withVerdict(kept, this.exercise, this.version, status, progress.now()));
  }

  insight() {
    const text = this.card.querySelector("[data-part=insight]");
    return text?.cloneNode(true) ?? null;
  }

  /** After a wrong answer: where to read, and the next hint. */
  guidance(feedback) {
    const parts = [];
    const place = feedback.next && whereToRead(feedback.next);
    if (place) parts.push(h("p", { class: "nc-read" }, "To read: ", place));
    const hint = [...this.card.querySelectorAll("[data-part=hint]")].find((fold) => !fold.open);
    if (hint) {
      const summary = hint.querySelector("summary");
      parts.push(h("p", {}, this.button(`Show ${summary.textContent.trim().toLowerCase()}`, () => {
        hint.open = true;
        summary.focus();
      }, { class: "nc-button nc-quiet" })));
    }
    return parts;
  }
}

/** "chapter 02, "A heading"" as a link where this page has that heading. */
function whereToRead(text) {
  const title = /"(.+)"/.exec(text)?.[1];
  const section = [...document.querySelectorAll("article section[id] > :is(h2, h3)")]
    .find((heading) => heading.firstChild?.textContent.trim() === title);
  return section ? h("a", { href: `#${section.parentElement.id}` }, text) : text;
}

/** What a card shows without an editor too: its mark, and which hints were read. */
export function watchCard(card) {
  const { exercise, version, runtime } = card.dataset;
  const facts = card.querySelector(".nc-facts");
  const mark = h("li", { class: "nc-mark", hidden: true });
  facts.append(mark);
  const show = () => {
    const entry = store.readProgress().exercises[exercise];
    const done = entry?.best === "passed";
    mark.hidden = !done;
    const older = done && entry.version !== Number(version);
    mark.textContent = older ? "✓ passed (it has changed since)" : "✓ passed";
    card.classList.toggle("nc-done", done);
  };
  show();
  store.onChange((key) => { if (key === "progress") show(); });
  for (const fold of card.querySelectorAll("[data-part=hint]")) {
    fold.addEventListener("toggle", () => {
      if (!fold.open) return;
      store.changeProgress((kept) => progress.withHint(
        kept, exercise, Number(version), Number(fold.dataset.hint), progress.now(),
      ));
    });
  }
  if (runtime === "torch") {
    const how = card.querySelector("[data-part=check]");
    how.before(h("p", { class: "nc-elsewhere" },
      "This exercise needs PyTorch, which does not run in a page. Work on it in its notebook:"));
  }
}

/** The notebook and the terminal step back behind the cell. */
export function foldOtherWays(card) {
  const how = card.querySelector("[data-part=check]");
  const fold = h("details", { class: "nc-fold nc-other-ways" },
    h("summary", {}, "In the notebook, or on the terminal"));
  card.querySelector(".nc-folds").append(fold);
  fold.append(h("div", { class: "nc-fold-body" }, how));
}

/** One line where the book was built without Python for the browser. */
export function sayWhy(place, reason) {
  const line = h("p", { class: "nc-elsewhere" },
    `Code does not run in this copy of the book, which was built without Python (${reason}).`);
  place.querySelector("[data-part=stub]").after(line);
}
