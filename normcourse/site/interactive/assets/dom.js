// What the figures share of the page: mounting, native controls, SVG, the spoken result.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with attributes (functions become listeners) and children. */
export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** Set attributes of an element that is there. */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Move an SVG element; the style sheet animates it, unless the reader asked for less motion. */
export const place = (element, x, y, more = "") => {
  element.style.transform = `translate(${x}px, ${y}px) ${more}`;
  return element;
};

let serial = 0;
const fresh = (stem) => `nci-${stem}-${(serial += 1)}`;

/** A group of radio buttons in a row; `options` are [value, label] or [value, label, title]. */
export function radios(legend, options, value, onchange) {
  const name = fresh("radio");
  const inputs = options.map(([key, label]) => {
    const input = html("input", { type: "radio", name, value: String(key), checked: key === value });
    input.addEventListener("change", () => onchange(key));
    return [key, input, html("label", { class: "nci-pill" }, input, html("span", {}, label))];
  });
  const element = html("fieldset", { class: "nci-pills" }, html("legend", {}, legend),
    html("div", {}, ...inputs.map(([, , label]) => label)));
  element.choose = (key) => inputs.forEach(([other, input]) => { input.checked = other === key; });
  return element;
}

/** A slider with its label and its value in words. */
export function slider(label, { min, max, step = 1, value, format = String }, oninput) {
  const id = fresh("slider");
  const shown = html("output", { for: id, class: "nci-value", "aria-live": "off" }, format(value));
  const input = html("input", { type: "range", id, min, max, step, value, "aria-valuetext": format(value) });
  const show = () => {
    const now = Number(input.value);
    shown.textContent = format(now);
    input.setAttribute("aria-valuetext", format(now));
    input.style.setProperty("--done", `${((now - min) / (max - min)) * 100}%`);
  };
  input.addEventListener("input", () => { show(); oninput(Number(input.value)); });
  const element = html("div", { class: "nci-slider" }, html("label", { for: id }, label), input, shown);
  element.move = (to) => { input.value = to; show(); };
  element.input = input;
  show();
  return element;
}

export function select(label, options, value, onchange) {
  const id = fresh("select");
  const list = html("select", { id },
    ...options.map(([key, text]) => html("option", { value: String(key), selected: key === value }, text)));
  list.addEventListener("change", () => onchange(options[list.selectedIndex][0]));
  const element = html("div", { class: "nci-select" }, html("label", { for: id }, label), list);
  element.choose = (key) => { list.selectedIndex = options.findIndex(([other]) => other === key); };
  return element;
}

export function checkbox(label, checked, onchange) {
  const input = html("input", { type: "checkbox", checked });
  input.addEventListener("change", () => onchange(input.checked));
  const element = html("label", { class: "nci-check-line" }, input, html("span", {}, label));
  element.check = (to) => { input.checked = to; };
  element.input = input;
  return element;
}

export const button = (label, onclick) => html("button", { type: "button", class: "nci-button", click: onclick }, label);

/**
 * The result in one sentence, visible at once; a screen reader hears it when the reader has paused,
 * and hears nothing before the first change.
 */
export function result() {
  const visible = html("p", { class: "nci-result" });
  const spoken = html("p", { class: "nci-spoken", role: "status" });
  let timer;
  let first = true;
  const element = html("div", {}, visible, spoken);
  element.tell = (text) => {
    if (text === visible.textContent) return;
    visible.textContent = text;
    clearTimeout(timer);
    if (!first) timer = setTimeout(() => { spoken.textContent = text; }, 700);
    first = false;
  };
  return element;
}

/**
 * A card with an SVG that is laid out anew when its width changes.
 *
 * `layout(width)` returns the height; the label says what the drawing is, its state is told by the
 * result below.
 */
export function stage(label, layout) {
  const drawing = svg("svg", { role: "img", "aria-label": label });
  const card = html("div", { class: "nci-stage" }, drawing);
  let known = 0;
  const fit = () => {
    const width = Math.floor(card.clientWidth);
    if (!width || width === known) return;
    known = width;
    drawing.classList.add("nci-still-now"); // no animation of a new layout
    const height = layout(width);
    set(drawing, { viewBox: `0 0 ${width} ${height}`, width, height });
    requestAnimationFrame(() => requestAnimationFrame(() => drawing.classList.remove("nci-still-now")));
  };
  new ResizeObserver(fit).observe(card);
  card.drawing = drawing;
  card.fit = fit;
  return card;
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Build the live figure wherever the page has one of this name; the still picture goes then. */
export function mount(name, build) {
  if (typeof document === "undefined") return; // tests import the module without a page
  for (const frame of document.querySelectorAll(`[data-figure="${name}"]`)) {
    const live = frame.querySelector(".nci-live");
    try {
      live.hidden = false;
      build(live, JSON.parse(frame.querySelector(".nci-data").textContent));
      frame.querySelector(".nci-still").hidden = true;
      frame.classList.add("nci-is-live");
    } catch (error) {
      live.hidden = true;
      live.replaceChildren();
      console.error(`interactive figure ${name}:`, error);
    }
  }
}

/** Lines and labels of an axis from `from` to `to` pixels; returns value → pixel. */
export function scale([low, high], [from, to], log = false) {
  const at = log ? Math.log10 : (value) => value;
  return (value) => from + ((at(value) - at(low)) / (at(high) - at(low))) * (to - from);
}
