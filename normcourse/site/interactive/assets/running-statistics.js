// Running statistics: a momentum, a stream of batches, and what evaluation makes of the gap.

import { follow, frozen, mean, say, standardize, variance } from "./core.js";
import { button, calm, checkbox, html, mount, radios, result, scale, set, slider, stage, svg } from "./dom.js";

const NAMES = { still: "stay put", drift: "drift", jump: "jump once" };
const MODES = { train: "training", eval: "evaluation" };

/** Momentum of a place on the slider: 0 … 100 is 0.005 … 1, evenly in the logarithm. */
export const momentumAt = (place) => Number((0.005 * 200 ** (place / 100)).toPrecision(2));
export const placeOf = (momentum) => Math.round((100 * Math.log(momentum / 0.005)) / Math.log(200));

/** Everything at one step: statistics of the batch, running ones, and the batch's outputs. */
export function state(data, { scenario, momentum, step, mode }) {
  const batches = data.scenarios[scenario];
  const running = follow(batches, momentum);
  const batch = batches[step - 1];
  const now = running[step - 1];
  const outputs = { train: standardize(batch, data.eps).xHat, eval: frozen(batch, now, data.eps) };
  return { batches, running, batch, now, y: outputs[mode] };
}

/** The result in words. */
export function sentence(now, { step, mode, momentum }) {
  const weight = momentum === null ? "all batches averaged" : `momentum ${momentum}`;
  const steps = `After ${step} step${step === 1 ? "" : "s"}, ${weight}: running mean ${say(now.now.mean)}, `
    + `this batch's mean ${say(mean(now.batch))}; running standard deviation ${say(Math.sqrt(now.now.var))}, `
    + `this batch's ${say(Math.sqrt(variance(now.batch)))}.`;
  const [center, spread] = [mean(now.y), Math.sqrt(variance(now.y))];
  return mode === "train"
    ? `${steps} In training the batch's own statistics are used, so its outputs have mean 0 and standard deviation 1 whatever the running ones are.`
    : `${steps} In evaluation the running ones are used: the outputs have mean ${say(center)} and standard deviation ${say(spread)}.`;
}

mount("running-statistics", (root, data) => {
  const chosen = { scenario: "jump", momentum: 0.1, step: 70, mode: "eval" };
  const total = data.scenarios.jump.length;
  const told = result();
  let timer = null;

  const scenario = radios("The feature's values", Object.entries(NAMES), chosen.scenario, (key) => { chosen.scenario = key; update(); });
  const momentum = slider("Momentum (weight of the new batch)",
    { min: 0, max: 100, value: placeOf(0.1), format: (at) => String(momentumAt(at)) },
    (at) => { chosen.momentum = momentumAt(at); equal.check(false); update(); });
  const equal = checkbox("momentum=None: all batches count the same", false, (on) => {
    chosen.momentum = on ? null : momentumAt(Number(momentum.input.value));
    update();
  });
  const mode = radios("The layer is in", Object.entries(MODES), chosen.mode, (key) => { chosen.mode = key; update(); });
  const steps = slider("Training step", { min: 1, max: total, value: chosen.step }, (to) => { stop(); chosen.step = to; update(); });
  const play = button("Play", () => (timer ? stop() : start()));

  function start() {
    if (chosen.step >= total) go(1);
    play.textContent = "Pause";
    timer = setInterval(() => (chosen.step >= total ? stop() : go(Math.min(total, chosen.step + (calm() ? 10 : 1)))), calm() ? 1000 : 80);
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  function go(step) {
    chosen.step = step;
    steps.move(step);
    update();
  }

  // ---- drawing
  const dots = Array.from({ length: total }, () => svg("circle", { class: "nci-raw" }));
  const band = svg("path", { class: "nci-band nci-fill-batch_norm" });
  const line = svg("path", { class: "nci-line nci-stroke-batch_norm" });
  const ahead = svg("path", { class: "nci-line nci-stroke-batch_norm nci-ahead" });
  const cursor = svg("line", { class: "nci-cursor" });
  const head = svg("circle", { class: "nci-fill-batch_norm", r: 6 });
  const gap = svg("line", { class: "nci-gap" });
  const axis = svg("g", {});
  const names = [
    svg("text", { class: "nci-label" }, "means of the batches"),
    svg("text", { class: "nci-label nci-ink-batch_norm nci-strong" }, "running mean ± running std"),
    svg("text", { class: "nci-label", "text-anchor": "middle" }, "training step"),
    svg("text", { class: "nci-label nci-strong", "text-anchor": "middle" }, "outputs of this batch"),
  ];
  const norm = svg("rect", { class: "nci-target", rx: 3 });
  const outputs = data.scenarios.jump[0].map(() => svg("circle", { class: "nci-fill-batch_norm nci-glide", r: 5.5, "fill-opacity": 0.65 }));
  const center = svg("line", { class: "nci-mean nci-glide" });
  const whisker = svg("line", { class: "nci-mean nci-glide" });
  const side = svg("g", {});
  let view = null;

  const card = stage("Left: batch means and the running mean against the training step. Right: the outputs of the current batch.", (width) => {
    const wide = width >= 540;
    const height = wide ? 330 : 470;
    const plot = wide ? [46, 44, width - 226, height - 46] : [40, 44, width - 16, 268];
    const strip = wide ? [width - 150, 44, width - 24, height - 46] : [60, 332, width - 30, 420];
    view = { wide, plot, strip };
    draw(state(data, chosen));
    return height;
  });
  card.drawing.append(axis, band, ...dots, ahead, line, cursor, gap, head, side, norm, ...outputs, center, whisker, ...names);

  function draw(now) {
    if (!view) return;
    const { plot: [left, top, right, bottom], strip, wide } = view;
    const means = now.batches.map((batch) => mean(batch));
    const low = Math.min(...now.batches.map((b, k) => Math.min(means[k], now.running[k].mean - Math.sqrt(now.running[k].var))), -1);
    const high = Math.max(...now.batches.map((b, k) => Math.max(means[k], now.running[k].mean + Math.sqrt(now.running[k].var))), 1);
    const x = scale([1, total], [left, right]);
    const y = scale([low, high], [bottom, top]);
    const path = (from, to) => now.running.slice(from, to).map((r, k) => `${k ? "L" : "M"}${x(from + k + 1).toFixed(1)},${y(r.mean).toFixed(1)}`).join("");
    axis.replaceChildren(
      ...levels(low, high).flatMap((value) => [
        svg("line", { class: "nci-grid", x1: left, x2: right, y1: y(value), y2: y(value) }),
        svg("text", { class: "nci-label", x: left - 8, y: y(value) + 4, "text-anchor": "end" }, say(value, 0))]),
      ...[1, total / 4, total / 2, (3 * total) / 4, total].map((step) =>
        svg("text", { class: "nci-label", x: x(step), y: bottom + 18, "text-anchor": "middle" }, String(step))));
    dots.forEach((dot, k) => set(dot, { cx: x(k + 1), cy: y(means[k]), r: k + 1 === chosen.step ? 5 : 2.6, opacity: k < chosen.step ? 0.75 : 0.22 }));
    const shown = now.running.slice(0, chosen.step);
    const edge = (sign) => shown.map((r, k) => `${x(k + 1).toFixed(1)},${y(r.mean + sign * Math.sqrt(r.var)).toFixed(1)}`);
    set(band, { d: `M${[...edge(1), ...edge(-1).reverse()].join("L")}Z` });
    set(line, { d: path(0, chosen.step) });
    set(ahead, { d: chosen.step < total ? path(chosen.step - 1, total) : "" });
    const at = x(chosen.step);
    set(cursor, { x1: at, x2: at, y1: top, y2: bottom });
    set(head, { cx: at, cy: y(now.now.mean) });
    set(gap, { x1: at, x2: at, y1: y(now.now.mean), y2: y(means[chosen.step - 1]) });
    set(names[0], { x: left + 4, y: 18 });
    set(names[1], wide ? { x: left + 168, y: 18 } : { x: left + 4, y: 35 });
    set(names[2], { x: (left + right) / 2, y: bottom + 38 });
    drawOutputs(now, strip, wide);
  }

  /** The strip stands on wide cards and lies on narrow ones. */
  function drawOutputs(now, [left, top, right, bottom], wide) {
    const along = wide ? scale([-4, 4], [bottom, top]) : scale([-4, 4], [left, right]);
    const clip = (value) => along(Math.max(-4, Math.min(4, value)));
    const across = wide ? (left + right) / 2 + 14 : (top + bottom) / 2;
    const at = (value, off) => (wide ? [across + off, clip(value)] : [clip(value), across + off]);
    const [middle, spread] = [mean(now.y), Math.sqrt(variance(now.y))];
    outputs.forEach((dot, k) => { const [cx, cy] = at(now.y[k], -14); dot.style.transform = `translate(${cx}px, ${cy}px)`; });
    const segment = (element, from, to) => set(element, { x1: from[0], y1: from[1], x2: to[0], y2: to[1] });
    segment(whisker, at(middle - spread, 16), at(middle + spread, 16));
    const tick = wide ? [[across + 6, clip(middle)], [across + 26, clip(middle)]] : [[clip(middle), across + 6], [clip(middle), across + 26]];
    segment(center, ...tick);
    const band = wide ? [left + 16, clip(1), right - left - 16, clip(-1) - clip(1)] : [clip(-1), top, clip(1) - clip(-1), bottom - top];
    set(norm, { x: band[0], y: band[1], width: band[2], height: band[3] });
    side.replaceChildren(...[-4, -2, 0, 2, 4].map((value) => (wide
      ? svg("text", { class: "nci-label", x: left + 6, y: clip(value) + 4, "text-anchor": "end" }, say(value, 0))
      : svg("text", { class: "nci-label", x: clip(value), y: bottom + 18, "text-anchor": "middle" }, say(value, 0)))));
    set(names[3], wide ? { x: (left + right) / 2, y: 18 } : { x: (left + right) / 2, y: top - 10 });
  }

  function update() {
    const now = state(data, chosen);
    draw(now);
    told.tell(sentence(now, chosen));
  }

  root.append(
    html("div", { class: "nci-controls" }, scenario, mode, momentum, equal),
    card,
    html("div", { class: "nci-controls" }, html("div", { class: "nci-row nci-fill" }, steps, play)),
    told);
  update();
  card.fit();
});

/** Round numbers between two values, at most six. */
export function levels(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step + 0; value <= high + 1e-9; value += step) found.push(value);
  return found;
}
