// Small help for every page; all of it also works without a script.

// What is wider than the screen scrolls; let the keyboard reach it, inside opened folds too.
const wideParts = { "div.math": "Wide formula", "div.math mjx-container": "Wide formula", ".pst-scrollable-table-container": "Wide table", "main pre": "Wide code", ".cell_output .text_html": "Wide output" };

function reachable({ target }) {
  if (target.scrollWidth <= target.clientWidth) return;
  const [, name] = Object.entries(wideParts).find(([selector]) => target.matches(selector));
  target.tabIndex = 0;
  target.setAttribute("role", "group");
  target.setAttribute("aria-label", name);
}

const observer = new ResizeObserver((entries) => entries.forEach(reachable));
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
