// Small help for every page; all of it also works without a script.

// What is wider than the screen scrolls; let the keyboard reach it, inside opened folds too.
const wideParts = { "div.math": "Wide formula", "div.math mjx-container": "Wide formula", ".pst-scrollable-table-container": "Wide table", "main pre": "Wide code", ".cell_output .text_html": "Wide output" };

// All are measured before any is changed: a change in between would have the page laid out anew for each.
function reachable(parts) {
  for (const part of parts.filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)) {
    const [, name] = Object.entries(wideParts).find(([selector]) => part.matches(selector));
    part.tabIndex = 0;
    part.setAttribute("role", "group");
    part.setAttribute("aria-label", name);
  }
}

const observer = new ResizeObserver((entries) => reachable(entries.map(({ target }) => target)));
const observe = (selector) => document.querySelectorAll(selector).forEach((element) => observer.observe(element));
observe(Object.keys(wideParts));

// A link to something inside a fold opens the fold.
function openTarget() {
  const name = decodeURIComponent(location.hash.slice(1));
  for (let element = document.getElementById(name); element; element = element.parentElement) {
    if (element.localName === "details") element.open = true;
  }
}
addEventListener("hashchange", openTarget);
openTarget();
