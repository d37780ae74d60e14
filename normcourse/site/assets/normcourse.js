// Small help for every page; all of it also works without a script.

// A formula or table that is wider than the screen scrolls; let the keyboard reach it.
function reachable(element) {
  const wide = element.scrollWidth > element.clientWidth + 1;
  if (wide && !element.hasAttribute("tabindex")) {
    element.tabIndex = 0;
    element.setAttribute("role", "region");
    element.setAttribute("aria-label", element.matches(".math") ? "Wide formula" : "Wide table");
  }
}

const wideParts = "div.math, .pst-scrollable-table-container";
const observer = new ResizeObserver((entries) => entries.forEach(({ target }) => reachable(target)));
document.querySelectorAll(wideParts).forEach((element) => observer.observe(element));

// A link into a fold opens the fold.
function openTarget() {
  let element = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (; element; element = element.parentElement) {
    if (element.localName === "details") element.open = true;
  }
}
addEventListener("hashchange", openTarget);
openTarget();

// On paper the code of figures stays folded; hints and solutions, too.
