// Two helpers to write elements.

/** An element: h("p", {class: "x", onclick: f, hidden: true}, "text", otherElement). */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(key, value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text in which `names` in backticks are code. */
export function inline(text) {
  const parts = String(text).split(/`([^`]+)`/);
  const fragment = document.createDocumentFragment();
  parts.forEach((part, i) => fragment.append(i % 2 ? h("code", {}, part) : part));
  return fragment;
}

let counted = 0;

/** An id that no other element has. */
export const newId = (name) => `nc-${name}-${counted += 1}`;
