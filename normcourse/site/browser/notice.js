// One quiet line at the foot of the window, for what concerns the whole page.

import { h } from "./dom.js";

let place = null;
const shown = new Set();

/** Say `text` once; `action` is {label, run}, or nothing. */
export function notice(text, action = null) {
  if (shown.has(text)) return;
  shown.add(text);
  place ??= document.body.appendChild(h("div", { class: "nc-notices", role: "status" }));
  const line = h("div", { class: "nc-notice" }, h("p", {}, text));
  const button = (label, run) => h("button", { class: "nc-button", type: "button", onclick: run }, label);
  if (action) line.append(button(action.label, action.run));
  line.append(button("Close", () => line.remove()));
  place.append(line);
}

export const TROUBLES = {
  blocked: "This browser keeps nothing for this site: copy your code before you leave the page.",
  full: "The browser's storage is full. What you write from now on lives as long as this page: "
    + "export it on the progress page, or make room.",
  damaged: "Something that was kept here could not be read. It was put aside, not deleted; the "
    + "export on the progress page contains it.",
};
