// A cell: an editor in the place of the static code, buttons below it, what it printed.

import { h, newId } from "./dom.js";
import { outcome } from "./feedback.js";
import * as python from "./python.js";
import * as store from "./store.js";

const SAVE_AFTER = 300; // milliseconds without a key
const STARTING = "Starting Python … (the first time about 10 MB)";
const frugal = () => navigator.connection?.saveData === true;

export class Cell {
  /**
   * place: the element with data-part="stub". id: under what the code is kept. version: of the
   * starter. name: for people. keys and buttons are added by those who extend this.
   */
  constructor({ place, id, version, name }) {
    Object.assign(this, { place, id, version, name });
    this.starter = place.querySelector("pre").textContent.replace(/\n+$/, "");
    this.kept = store.codeOf(id);
    this.running = false;
    this.saveTimer = 0;
    this.touched = false;

    const help = newId("help");
    this.helpId = help;
    this.box = h("div", { class: "nc-editor", hidden: true });
    this.stopButton = this.button("Stop", () => python.stop(), { hidden: true });
    this.resetButton = this.button("Reset", () => this.reset(), { class: "nc-button nc-quiet" });
    this.state = h("p", { class: "nc-state", role: "status" });
    this.tools = h("div", { class: "nc-tools", role: "group", "aria-label": `Run ${name}` });
    this.keysHelp = h("p", { class: "nc-keys", id: help });
    this.result = h("div", { class: "nc-result", role: "status" });
    this.printed = h("pre", {
      class: "nc-printed", tabindex: "0", role: "region", "aria-label": `Output of ${name}`,
      hidden: true,
    });
    this.live = h("div", { class: "nc-live" },
      this.box, this.keysHelp, this.tools, this.result, this.printed);
    place.after(this.live);
    this.live.prepend(place);

    this.live.addEventListener("focusin", () => this.touch());
    this.live.addEventListener("pointerenter", () => this.touch());
    place.addEventListener("click", () => this.mount().then(() => this.editor.focus()));
    new IntersectionObserver((seen, observer) => {
      if (!seen.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      this.mount();
    }, { rootMargin: "800px" }).observe(this.live);
    store.onChange((key) => { if (key === `code:${id}`) this.adopt(); });
    addEventListener("pagehide", () => this.save());
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.save(); });
    python.onState((state) => this.onState(state));
    this.noteVersion();
  }

  button(label, press, attributes = {}) {
    return h("button", { class: "nc-button", type: "button", onclick: press, ...attributes }, label);
  }

  get code() { return this.editor ? this.editor.code : this.kept?.code ?? this.starter; }

  /** Put the editor there; where it cannot be loaded, a text field. */
  mount() {
    this.mounting ??= import("./editor.js").catch(() => import("./plain.js"))
      .then(({ createEditor }) => {
        this.box.hidden = false;
        this.editor = createEditor({
          parent: this.box,
          code: this.kept?.code ?? this.starter,
          label: `Code of ${this.name}`,
          describedBy: this.helpId,
          keys: this.keys(),
          onChange: () => this.changed(),
        });
        const hadFocus = this.place.contains(document.activeElement); // its copy button
        this.place.hidden = true;
        if (hadFocus) this.editor.focus();
      });
    return this.mounting;
  }

  touch() {
    if (this.touched || frugal()) return;
    this.touched = true;
    python.warm();
  }

  onState(state) {
    const waits = this.touched || this.running;
    if (state === "starting" && waits) this.say(STARTING);
    else if (this.state.textContent === STARTING) this.say(this.running ? "Running …" : "");
  }

  say(text, ...more) { this.state.replaceChildren(text, ...more); }

  // ---- what the reader writes is kept ----

  changed() {
    clearTimeout(this.saveTimer);
    this.saveTimer = setTimeout(() => this.save(), SAVE_AFTER);
  }

  save() {
    clearTimeout(this.saveTimer);
    if (!this.editor) return;
    const { code } = this.editor;
    if (code === (this.kept?.code ?? this.starter)) return;
    if (code === this.starter) {
      this.kept = null;
      store.forgetCode(this.id);
    } else {
      this.kept = { code, version: this.version };
      store.keepCode(this.id, code, this.version);
    }
  }

  /** Take over what another tab wrote, unless somebody writes here. Undo brings back the old. */
  adopt() {
    const kept = store.codeOf(this.id);
    if (this.editor?.focused || (kept?.code ?? null) === (this.kept?.code ?? null)) return;
    this.kept = kept;
    if (this.editor) this.editor.code = kept?.code ?? this.starter;
  }

  reset() {
    this.mount().then(() => {
      if (this.editor.code === this.starter) {
        this.say("This is how it began.");
        return;
      }
      this.editor.code = this.starter;
      this.save();
      this.show();
      const undo = this.button("Bring mine back", () => {
        this.editor.undo();
        this.save();
        this.say("");
        this.editor.focus();
      }, { class: "nc-button nc-quiet" });
      this.say("Back to the beginning. ", undo);
    });
  }

  noteVersion() {
    if (this.kept && this.version && this.kept.version !== this.version) {
      this.say("The exercise has changed since you wrote this; Reset shows its new beginning.");
    }
  }

  // ---- running ----

  show(...children) { this.result.replaceChildren(...children); }

  print(text) {
    this.printed.hidden = false;
    this.pending = (this.pending ?? "") + text;
    this.frame ??= requestAnimationFrame(() => {
      this.printed.append(this.pending);
      this.pending = "";
      this.frame = null;
    });
  }

  /** Ask Python; buttons tell what goes on. Returns the answer's value, or null. */
  async ask(request, button) {
    if (this.running) return null;
    this.save();
    this.running = true;
    this.touched = true;
    this.printed.replaceChildren();
    this.printed.hidden = true;
    this.show();
    this.busy(true);
    this.say(STARTING);
    const answer = await python.ask({ ...request, code: this.code }, {
      print: (text) => this.print(text),
      begun: () => this.say("Running …"),
    });
    const stopHadFocus = document.activeElement === this.stopButton;
    this.running = false;
    this.busy(false);
    this.say("");
    if (stopHadFocus) button.focus();
    if (answer.ok) return answer.value;
    this.show(h("div", { class: "nc-verdict-box nc-failed" }, ...outcome(answer)));
    this.failed(request, answer);
    return null;
  }

  failed() { /* an exercise takes note */ }

  busy(running) {
    this.stopButton.hidden = !running;
    for (const button of this.tools.querySelectorAll(".nc-start")) {
      button.setAttribute("aria-disabled", String(running));
    }
    this.live.classList.toggle("nc-running", running);
  }
}

/** A cell to try: Run and Reset. */
export class TryCell extends Cell {
  constructor(element) {
    super({
      place: element.querySelector("[data-part=stub]"),
      id: `try:${element.dataset.try}`, version: 0, name: "the cell to try",
    });
    this.before = element.querySelector("[data-part=output]");
    this.runButton = this.button("Run", () => this.run(), { class: "nc-button nc-start nc-main" });
    this.tools.append(this.runButton, this.stopButton, this.resetButton, this.state);
    this.keysHelp.append("Ctrl+Enter runs it. Esc, then Tab leaves the editor.");
    this.live.append(this.before);
    if (this.kept) this.before.hidden = true; // it belongs to the code as it was
  }

  keys() {
    return { "Mod-Enter": () => this.run(), "Shift-Enter": () => this.run() };
  }

  async run() {
    this.before.hidden = true;
    const value = await this.ask({ do: "run" }, this.runButton);
    if (value?.stopped) this.show(stopped(value.stopped));
  }

  reset() {
    super.reset();
    this.before.hidden = false;
    this.printed.hidden = true;
  }
}

/** What stopped a run: the reader's own line and the error. */
export function stopped(text) {
  return h("div", { class: "nc-verdict-box nc-failed" },
    h("p", { class: "nc-verdict-head" },
      h("span", { "aria-hidden": "true" }, "✗ "), "Stopped with an error"),
    h("pre", { class: "nc-error" }, text));
}
