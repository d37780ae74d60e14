// The site without a network: a service worker keeps the pages, and Python where cells are used.

import { address } from "./course.js";
import { h } from "./dom.js";
import { notice } from "./notice.js";

const possible = () => "serviceWorker" in navigator && globalThis.isSecureContext;
const frugal = () => navigator.connection?.saveData === true
  || /2g|3g/.test(navigator.connection?.effectiveType ?? "");
const idle = (run) => (globalThis.requestIdleCallback ?? ((f) => setTimeout(f, 2000)))(run);

/** Register once the page has settled; `cells`: keep Python too, unless data is precious. */
export function keepOffline(cells) {
  if (!possible()) return;
  const known = Boolean(navigator.serviceWorker.controller);
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (!known) return; // the first visit: the page is as new as can be
    notice("A newer version of the book is here; what you wrote is kept.",
      { label: "Load it", run: () => location.reload() });
  });
  const begin = () => idle(async () => {
    try {
      await navigator.serviceWorker.register(address("sw.js"), { updateViaCache: "none" });
      const { active } = await navigator.serviceWorker.ready;
      if (cells && !frugal()) active?.postMessage({ type: "keep-python" });
    } catch { /* not served, private mode, blocked: the site works, with a network */ }
  });
  if (document.readyState === "complete") begin();
  else addEventListener("load", begin, { once: true });
}

async function state() {
  const { active } = await navigator.serviceWorker.ready;
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data);
    active.postMessage({ type: "state" }, [port2]);
  });
}

const megabytes = (bytes) => `${Math.max(1, Math.round(bytes / 1e6))} MB`;

/** What is kept, and a button that fetches the rest. */
export function offlineControls() {
  const text = h("p", { class: "nc-state", role: "status" });
  const button = h("button", { class: "nc-button", type: "button", hidden: true }, "Keep everything");
  const place = h("section", { class: "nc-offline", "aria-label": "Without a network" },
    h("h2", {}, "Without a network"), text, button);
  if (!possible()) {
    text.textContent = "This browser keeps no pages for later, or the book is not served over https.";
    return place;
  }
  const show = async () => {
    const { pages, python } = await state();
    const whole = pages.kept === pages.all && python.kept === python.all;
    const rest = pages.bytes + python.bytes;
    text.textContent = whole
      ? "Everything is kept in this browser: pages, pictures and Python. No network is needed."
      : `Kept: ${pages.kept} of ${pages.all} files of the pages, ${python.kept} of ${python.all} of `
        + `Python. To come: ${megabytes(rest)}.`;
    button.hidden = whole;
    return whole;
  };
  button.addEventListener("click", async () => {
    button.setAttribute("aria-disabled", "true");
    const { active } = await navigator.serviceWorker.ready;
    active.postMessage({ type: "keep-all" });
    for (let tries = 0; tries < 600 && !(await show()); tries += 1) {
      await new Promise((resolve) => { setTimeout(resolve, 1000); });
    }
    button.removeAttribute("aria-disabled");
  });
  text.textContent = "Looking at what is kept …";
  show().catch(() => { text.textContent = ""; });
  return place;
}
