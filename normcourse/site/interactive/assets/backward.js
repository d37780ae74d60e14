// The backward pass as arrows: three examples of one feature, so a gradient is a vector in space.

import { backwardStages, directions, dot, norm, say } from "./core.js";
import { html, mount, radios, result, set, slider, stage, svg } from "./dom.js";

const STEPS = ["dy arrives", "remove the mean", "remove the part along x̂", "divide by σ"];
const TILT = 0.42; // of the view, in radians

/** The stages with their components along: all equal, x_hat, what is left. */
export function state(data, { x, dy }) {
  const now = backwardStages(x, dy, data.eps);
  const axes = directions(now.xHat);
  return { ...now, axes, components: now.stages.map((vector) => axes.map((axis) => dot(vector, axis))) };
}

/** The result in words. */
export function sentence(now, step) {
  const [dy, centered, rest, dx] = now.stages;
  const sigma = say(1 / now.invStd);
  const list = (vector) => `(${vector.map((value) => say(value)).join(", ")})`;
  const mean = (vector) => vector.reduce((total, value) => total + value, 0) / vector.length;
  return [
    `The gradient that arrives is dy = ${list(dy)}. Its mean is ${say(mean(dy))}.`,
    `Without its mean it is ${list(centered)}: adding one number to every x changes no output, so no gradient points there.`,
    `Without its part along x̂ it is ${list(rest)}: scaling x about its mean changes no output either (but for eps).`,
    `Divided by σ = ${sigma} it is dx = ${list(dx)}, ${norm(dy) > 0 ? `${Math.round((100 * norm(dx)) / norm(dy))} % as long as dy` : "as dy is 0"}.`,
  ][step];
}

mount("backward", (root, data) => {
  const chosen = { x: [...data.x], dy: [...data.dy], step: 0, turn: -25 };
  const told = result();
  const steps = radios("Step", STEPS.map((text, k) => [k, text]), chosen.step, (k) => { chosen.step = k; update(); });
  const entries = (name, limit, label) => html("fieldset", { class: "nci-entries" }, html("legend", {}, label),
    ...chosen[name].map((value, k) => slider(`example ${k + 1}`, { min: limit[0], max: limit[1], step: 0.1, value, format: (v) => say(v, 1) },
      (to) => { chosen[name][k] = to; update(); })));
  const turn = slider("Turn the view", { min: -90, max: 90, value: chosen.turn, format: (v) => `${say(v, 0)}°` }, (to) => { chosen.turn = to; update(); });

  // ---- space
  const floor = svg("path", { class: "nci-floor" });
  const axes = ["all three equal", "along x̂", "what is left"].map((text, k) => ({
    line: svg("line", { class: "nci-axis" }), text: svg("text", { class: `nci-label${k === 2 ? " nci-strong" : ""}`, "text-anchor": "middle" }, text),
  }));
  const drops = [0, 1, 2].map(() => svg("line", { class: "nci-drop" }));
  const removed = ["the mean", "the part along x̂", ""].map((text) => svg("text", { class: "nci-removed" }, text));
  const ghosts = [0, 1, 2].map(() => arrow("nci-ghost"));
  const current = arrow("nci-current");
  const caption = svg("text", { class: "nci-number", "text-anchor": "middle" });

  // ---- entries as bars
  const rows = STEPS.map((text, step) => ({
    title: svg("text", { class: "nci-label" }, text),
    base: svg("line", { class: "nci-lane" }),
    bars: [0, 1, 2].map(() => svg("rect", { class: "nci-bar" })),
    numbers: [0, 1, 2].map(() => svg("text", { class: "nci-number", "text-anchor": "middle" })),
    group: svg("g", { class: "nci-step", click: () => { chosen.step = step; steps.choose(step); update(); } }),
  }));
  rows.forEach(({ title, base, bars, numbers, group }) => group.append(base, title, ...bars, ...numbers));

  let view = null;
  const card = stage("Left: the gradient as an arrow in space. Right: its three entries after each step, as bars.", (width) => {
    const wide = width >= 540;
    const w = wide ? width * 0.58 : width;
    view = {
      center: [w * 0.5, wide ? 214 : 178], reach: Math.min(w * 0.335, 140),
      bars: wide ? [w + 14, 14, width - 16, 384] : [16, 330, width - 16, 640],
    };
    draw();
    return wide ? 400 : 650;
  });
  card.drawing.append(floor, ...axes.flatMap(({ line, text }) => [line, text]), ...drops,
    ...ghosts.map(({ group }) => group), current.group, ...removed, caption, ...rows.map(({ group }) => group));

  /** From components (equal, along, left) to the page: equal is up, the others span the floor. */
  let extent = 1;
  function point([equal, along, left]) {
    const angle = (chosen.turn * Math.PI) / 180;
    const right = left * Math.cos(angle) - along * Math.sin(angle);
    const depth = left * Math.sin(angle) + along * Math.cos(angle);
    const { center, reach } = view;
    const unit = reach / extent;
    return [center[0] + unit * right, center[1] - unit * (equal * Math.cos(TILT) - depth * Math.sin(TILT))];
  }

  function draw() {
    if (!view) return;
    const now = state(data, chosen);
    extent = Math.max(1.2, ...now.stages.map(norm)) * 0.85; // the longest arrow always fits
    const corners = [[0, -extent, -extent], [0, -extent, extent], [0, extent, extent], [0, extent, -extent]].map(point);
    set(floor, { d: `M${corners.map((corner) => corner.join(",")).join("L")}Z` });
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map((axis) => axis.map((v) => v * extent)).forEach((tip, k) => {
      const [a, b] = [point(tip.map((v) => (k === 0 ? 0 : -v))), point(tip)];
      set(axes[k].line, { x1: a[0], y1: a[1], x2: b[0], y2: b[1] });
      const end = point(tip.map((v) => v * (k === 0 ? 1.1 : 1.17)));
      set(axes[k].text, { x: end[0], y: end[1] + 4 });
    });
    const tips = now.components.map(point);
    const origin = point([0, 0, 0]);
    drops.forEach((line, k) => {
      const shown = k < chosen.step;
      line.style.display = shown ? "" : "none";
      removed[k].style.display = shown && k < 2 ? "" : "none";
      if (!shown) return;
      const [[x1, y1], [x2, y2]] = [tips[k], tips[k + 1]];
      set(line, { x1, y1, x2, y2 });
      set(removed[k], { x: (x1 + x2) / 2 + 9, y: (y1 + y2) / 2 + 4 });
    });
    ghosts.forEach((ghost, k) => { ghost.group.style.display = k < chosen.step ? "" : "none"; ghost.point(origin, tips[k]); });
    current.point(origin, tips[chosen.step]);
    const name = ["dy", "dy − mean", "… − x̂ part", "dx"][chosen.step];
    const tip = tips[chosen.step];
    caption.textContent = name;
    set(caption, { x: tip[0] + (tip[0] < origin[0] ? -14 : 14), y: tip[1] - 12 });
    drawBars(now);
  }

  function drawBars(now) {
    const [left, top, right, bottom] = view.bars;
    const pitch = (bottom - top) / rows.length;
    const largest = Math.max(0.5, ...now.stages.flat().map(Math.abs));
    rows.forEach(({ title, base, bars, numbers, group }, k) => {
      const y = top + pitch * (k + 0.62);
      const across = (right - left) / 3;
      set(title, { x: left, y: top + pitch * k + 16 });
      set(base, { x1: left, x2: right, y1: y, y2: y });
      group.classList.toggle("nci-now", k === chosen.step);
      group.classList.toggle("nci-later", k > chosen.step);
      now.stages[k].forEach((value, i) => {
        const height = (Math.abs(value) / largest) * pitch * 0.3;
        const middle = left + across * (i + 0.5);
        set(bars[i], { x: middle - across * 0.36, width: across * 0.3, y: value >= 0 ? y - height : y, height });
        set(numbers[i], { x: middle + across * 0.22, y: y + 4 - Math.sign(value) * 7 });
        numbers[i].textContent = say(value);
      });
    });
  }

  function update() {
    draw();
    told.tell(sentence(state(data, chosen), chosen.step));
  }

  root.append(
    html("div", { class: "nci-controls" }, steps),
    card,
    html("div", { class: "nci-controls" }, turn, html("div", { class: "nci-pair" }, entries("x", [-9, 9], "The values x"), entries("dy", [-2, 2], "The gradient dy"))),
    told);
  update();
  card.fit();
});

/** A line with a head; `point(from, to)` places it. */
function arrow(name) {
  const line = svg("line", {});
  const head = svg("path", { d: "M0,0 L-11,-5 L-11,5 Z" });
  const group = svg("g", { class: `nci-arrow ${name}` }, line, head);
  return {
    group,
    point([x1, y1], [x2, y2]) {
      const length = Math.hypot(x2 - x1, y2 - y1);
      const back = length > 11 ? 9 / length : 0;
      set(line, { x1, y1, x2: x2 - (x2 - x1) * back, y2: y2 - (y2 - y1) * back });
      set(head, { transform: `translate(${x2},${y2}) rotate(${(Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI}) scale(${Math.min(1, length / 14)})` });
    },
  };
}
