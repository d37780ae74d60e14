// Depth: gradient norm and variance, layer by layer, in fresh nets (recorded, not computed here).

import { roughly } from "./core.js";
import { html, mount, radios, result, scale, set, stage, svg } from "./dom.js";

const PLAIN = "plain_batch_norm"; // ten thousand times the others: drawn alone
const QUANTITIES = { gradient: "gradient norm", variance: "variance of the output" };

/** The curve of a stack at a depth. */
export const curve = (data, { stack, depth, quantity }) =>
  data.stacks.find(({ name }) => name === stack).depths[depth][quantity];

/** Lowest and highest whole power of ten around everything that shares an axis, at every depth. */
export function limits(data, { stack, quantity }) {
  const shown = data.stacks.filter(({ name }) => (name === PLAIN) === (stack === PLAIN) || (stack === PLAIN));
  const values = shown.flatMap(({ depths }) => Object.values(depths).flatMap((one) => [...one[quantity].low, ...one[quantity].high]));
  return [10 ** Math.floor(Math.log10(Math.min(...values))), 10 ** Math.ceil(Math.log10(Math.max(...values)))];
}

/** The result in words. */
export function sentence(data, chosen) {
  const { title } = data.stacks.find(({ name }) => name === chosen.stack);
  const { median } = curve(data, chosen);
  const [first, last] = [median[0], median[median.length - 1]];
  const head = `${title}, ${chosen.depth} layers, median of ${data.seeds} seeds: `;
  if (chosen.quantity === "variance") {
    const ratio = last / first;
    const flatness = ratio > 0.8 && ratio < 1.25;
    return flatness
      ? `${head}the variance stays near ${roughly(last)} from the first layer to the last.`
      : `${head}the variance goes from ${roughly(first)} after the first layer to ${roughly(last)} after the last.`;
  }
  const [more, less, ratio] = first >= last ? ["first", "last", first / last] : ["last", "first", last / first];
  return ratio < 1.25
    ? `${head}the gradients of the first and the last layer are about equally long.`
    : `${head}the gradient of the ${more} layer is ${roughly(ratio)} times as long as that of the ${less}.`;
}

mount("depth", (root, data) => {
  const chosen = { stack: "pre", depth: 64, quantity: "gradient" };
  const told = result();
  const choose = (key) => (value) => { chosen[key] = value; update(); };
  const stack = radios("Where the norm stands", data.stacks.map(({ name, title }) => [name, title]), chosen.stack, choose("stack"));
  const depth = radios("Layers", data.depths.map((count) => [count, String(count)]), chosen.depth, choose("depth"));
  const quantity = radios("Show", Object.entries(QUANTITIES), chosen.quantity, choose("quantity"));
  const formula = html("code", { class: "nci-formula" });

  const axis = svg("g", {});
  const others = svg("g", {});
  const band = svg("path", { class: "nci-band" });
  const line = svg("path", { class: "nci-line nci-thick" });
  const ends = [0, 1].map(() => ({ dot: svg("circle", { r: 5 }), text: svg("text", { class: "nci-number" }) }));
  const name = svg("text", { class: "nci-label" });
  const below = svg("text", { class: "nci-label", "text-anchor": "middle" }, "layer (1 is next to the input)");
  let size = null;
  const card = stage("A curve over the layers: median of ten seeds, shaded between the quartiles; other placements in grey.", (width) => {
    size = [width, width >= 560 ? 360 : 320];
    draw();
    return size[1];
  });
  card.drawing.append(axis, others, band, line, ...ends.flatMap(({ dot, text }) => [dot, text]), name, below);

  const chosenOne = () => data.stacks.find(({ name }) => name === chosen.stack);

  function draw() {
    if (!size) return;
    const [width, height] = size;
    const [left, top, right, bottom] = [58, 40, width - (width >= 540 ? 132 : 104), height - 50];
    const [low, high] = limits(data, chosen);
    const x = scale([1, chosen.depth], [left + 8, right]);
    const y = scale([low, high], [bottom, top], true);
    const powers = Array.from({ length: Math.round(Math.log10(high / low)) + 1 }, (_, k) => low * 10 ** k);
    const layers = chosen.depth === 4 ? [1, 2, 3, 4] : [1, chosen.depth / 4, chosen.depth / 2, (3 * chosen.depth) / 4, chosen.depth];
    axis.replaceChildren(
      ...powers.flatMap((value) => [
        svg("line", { class: "nci-grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
        svg("text", { class: "nci-label", x: left - 8, y: y(value) + 4, "text-anchor": "end" }, power(value))]),
      ...layers.map((layer) => svg("text", { class: "nci-label", x: x(layer), y: bottom + 20, "text-anchor": "middle" }, String(layer))));
    const color = chosen.stack === PLAIN ? "batch_norm" : "layer_norm";
    const points = (values) => values.map((value, k) => `${x(k + 1).toFixed(1)},${y(value).toFixed(1)}`);
    const residual = data.stacks.filter((one) => one.name !== chosen.stack && (one.name !== PLAIN));
    const ending = (name) => y(curve(data, { ...chosen, stack: name }).median[chosen.depth - 1]);
    const tags = apart([...residual, chosenOne()].map(({ name, title }) => ({ name, title, y: ending(name) })), 15, bottom - 4);
    others.replaceChildren(
      ...residual.map((one) => svg("path", {
        class: "nci-line nci-other", d: `M${points(curve(data, { ...chosen, stack: one.name }).median).join("L")}`,
      })),
      ...tags.map((tag) => svg("text", {
        class: tag.name === chosen.stack ? `nci-label nci-ink-${color} nci-bold` : "nci-label", x: right + 11, y: tag.y + 4,
      }, tag.title.replace("BatchNorm, no skips", "no skips"))));
    const { low: lower, median, high: upper } = curve(data, chosen);
    set(band, { d: `M${[...points(lower), ...points(upper).reverse()].join("L")}Z`, class: `nci-band nci-fill-${color}` });
    set(line, { d: `M${points(median).join("L")}`, class: `nci-line nci-thick nci-stroke-${color}` });
    ends.forEach(({ dot, text }, k) => {
      const at = k ? median.length - 1 : 0;
      set(dot, { cx: x(at + 1), cy: y(median[at]), class: `nci-fill-${color}` });
      set(text, { x: x(at + 1) + (k ? 4 : 0), y: y(median[at]) - 13, "text-anchor": k ? "end" : "middle", class: `nci-number nci-ink-${color}` });
      text.textContent = roughly(median[at]);
    });
    set(name, { x: 12, y: 20 });
    name.textContent = QUANTITIES[chosen.quantity];
    set(below, { x: (left + right) / 2, y: bottom + 42 });
  }

  function update() {
    formula.textContent = chosenOne().formula;
    draw();
    told.tell(sentence(data, chosen));
  }

  root.append(
    html("div", { class: "nci-controls" }, stack, formula, html("div", { class: "nci-row" }, depth, quantity)),
    card, told);
  update();
  card.fit();
});

/** Labels moved up until none is closer than `least` to the one below it, starting at `floor`. */
export function apart(labels, least, floor) {
  let below = floor + least;
  return [...labels].sort((a, b) => b.y - a.y).map((label) => {
    below = Math.min(label.y, below - least);
    return { ...label, y: below };
  });
}

/** 0.01, 0.1, 1, 10, 100, 1,000, 10⁴ … */
export function power(value) {
  const exponent = Math.round(Math.log10(value));
  if (exponent <= 3) return exponent < 0 ? value.toFixed(-exponent) : value.toLocaleString("en-US");
  return `10${[...String(exponent)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
}
