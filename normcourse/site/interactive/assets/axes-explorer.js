// Which values share a mean: an (N, C, L) block of numbers, five methods.

import { counted, divideByRms, flat, mean, normalizePools, pools, say, standardize } from "./core.js";
import { html, mount, place, radios, result, select, set, slider, stage, svg } from "./dom.js";

const SIDE = 2; // positions stand in a map of 2 x 2
const SCOPES = { position: "one position", example: "a whole example" };

/** All that the figure shows, from what the reader chose. */
export function state(data, chosen) {
  const method = data.methods.find(({ name }) => name === chosen.method);
  const scope = "" in method.scopes ? "" : chosen.scope;
  const { axes, code } = method.scopes[scope];
  const groups = method.name === "group_norm" ? chosen.groups : 0;
  const rms = method.name === "rms_norm";
  const poolOf = pools(data.shape, axes, groups);
  const step = (values) => (rms ? divideByRms : standardize)(values, data.eps);
  const original = data.x.flat(2);
  const at = flat(data.shape, ...chosen.at);
  const x = original.map((value, index) => (index === at ? chosen.value ?? value : value));
  const before = normalizePools(original, poolOf, step);
  const y = normalizePools(x, poolOf, step);
  const members = poolOf.flatMap((pool, index) => (pool === poolOf[at] ? [index] : []));
  const moved = y.flatMap((value, index) => (Math.abs(value - before[index]) > 1e-9 ? [index] : []));
  const statistic = step(members.map((index) => x[index]));
  return {
    method, groups, code, rms, at, x, y, members, moved, statistic,
    pooled: new Set(members), count: new Set(poolOf).size, changed: x[at] !== original[at],
    delta: x[at] - original[at],
  };
}

/** The result in words. */
export function sentence(now) {
  const { members, count, rms, statistic, x, y, at } = now;
  const what = rms ? "root mean square" : "mean";
  const how = rms
    ? `root mean square ${say(statistic.rms)}`
    : `mean ${say(statistic.mean)}, standard deviation ${say(1 / statistic.invStd)}`;
  const pooled = `One ${what} pools ${counted(members.length, "value")}; there ${count === 1 ? "is" : "are"} ${count} of them.`;
  const value = `Here: ${how}, so ${say(x[at], 1)} becomes ${say(y[at])}.`;
  const moved = now.changed
    ? ` You moved one input by ${now.delta > 0 ? "+" : ""}${say(now.delta, 1)}: ${counted(now.moved.length, "output")} of ${y.length} moved.`
    : "";
  return `${pooled} ${value}${moved}`;
}

mount("axes-explorer", (root, data) => {
  const [num, channels, length] = data.shape;
  const chosen = { method: "batch_norm", scope: "position", groups: 2, at: [1, 2, 1], value: null, view: "x" };
  const told = result();
  const code = html("pre", { class: "nci-code" });

  // ---- controls
  const choose = (key) => (value) => { chosen[key] = value; update(); };
  const pick = (axis) => (value) => {
    chosen.at[axis] = value;
    chosen.value = null;
    update();
  };
  const methods = radios("Method", data.methods.map(({ name, title }) => [name, title]), chosen.method, choose("method"));
  const scope = radios("One mean pools the channels of", Object.entries(SCOPES), chosen.scope, choose("scope"));
  const groups = slider("Groups of channels, G",
    { min: 0, max: data.groups.length - 1, value: data.groups.indexOf(chosen.groups), format: (k) => String(data.groups[k]) },
    (k) => { chosen.groups = data.groups[k]; update(); });
  const view = radios("Show", [["x", "inputs x"], ["y", "outputs x̂"]], chosen.view, choose("view"));
  const range = (count) => Array.from({ length: count }, (_, k) => [k, String(k + 1)]);
  const where = [["Example", num], ["Channel", channels], ["Position", length]].map(
    ([label, count], axis) => select(label, range(count), chosen.at[axis], pick(axis)));
  const value = slider("Move this input", { min: -10, max: 10, step: 0.1, value: 0, format: (v) => say(v, 1) },
    (to) => { chosen.value = to; update(); });

  // ---- the block as maps of numbers
  const cells = [];
  for (let n = 0; n < num; n += 1) {
    for (let c = 0; c < channels; c += 1) {
      for (let l = 0; l < length; l += 1) {
        const box = svg("rect", { rx: 3 });
        const text = svg("text", { class: "nci-cell-text" });
        const mark = svg("circle", { class: "nci-moved", r: 3 });
        const group = svg("g", { class: "nci-cell", click: () => {
          chosen.at = [n, c, l];
          chosen.value = null;
          where.forEach((list, axis) => list.choose(chosen.at[axis]));
          update();
        } }, box, text, mark);
        cells.push({ n, c, l, box, text, mark, group });
      }
    }
  }
  const labels = [
    ...Array.from({ length: num }, (_, n) => ({ n, text: svg("text", { class: "nci-label" }, `example ${n + 1}`) })),
    ...Array.from({ length: channels }, (_, c) => ({ c, text: svg("text", { class: "nci-label" }, `channel ${c + 1}`) })),
  ];

  // ---- the same block in space: unpooled cubes are glass, pooled ones solid
  const cubes = [];
  for (let n = num - 1; n >= 0; n -= 1) {
    for (let c = 0; c < channels; c += 1) {
      for (let l = length - 1; l >= 0; l -= 1) {
        const faces = ["front", "top", "side"].map((face) => svg("path", { class: `nci-face nci-face-${face}` }));
        cubes.push({ n, c, l, faces, group: svg("g", { class: "nci-cube" }, ...faces) });
      }
    }
  }
  const space = svg("g", { class: "nci-space" }, ...cubes.map(({ group }) => group),
    ...[["channels", 0], ["positions", 1], ["examples", 2]].map(([text, k]) => svg("text", { class: `nci-label nci-axis-${k}` }, text)));

  const card = stage("A block of numbers: rows are examples, columns channels, each map holds the positions of one channel.", (width) => {
    const wide = width >= 540;
    const left = wide ? 86 : 16;
    const top = 34;
    const gap = wide ? 12 : 7;
    const right = wide ? 206 : 10;
    const cell = Math.min(46, (width - left - right - (channels - 1) * gap) / (channels * SIDE));
    const pitch = SIDE * cell + gap;
    for (const { n, c, l, box, text, mark, group } of cells) {
      place(group, left + c * pitch + (l % SIDE) * cell, top + n * (pitch + (wide ? 0 : 8)) + Math.floor(l / SIDE) * cell);
      set(box, { x: 1, y: 1, width: cell - 2, height: cell - 2 });
      set(text, { x: cell / 2, y: cell / 2 + 5, "font-size": wide ? 13.5 : 12 });
      set(mark, { cx: cell - 7, cy: 7, r: wide ? 3 : 2.5 });
    }
    for (const { n, c, text } of labels) {
      text.style.display = n !== undefined && !wide ? "none" : "";
      if (n !== undefined) set(text, { x: left - 12, y: top + n * pitch + cell + 4, "text-anchor": "end" });
      else set(text, { x: left + c * pitch + cell, y: top - 12, "text-anchor": "middle", "font-size": wide ? 13 : 12 });
    }
    space.style.display = wide ? "" : "none";
    if (wide) drawSpace(left + channels * pitch + 26, top + (num * pitch) / 2, Math.min(34, (width - left - channels * pitch - 44) / 6.1));
    return top + num * (pitch + (wide ? 0 : 8)) - gap + 22;
  });

  /** Cubes of side u; channels run right, positions down, examples into the page. */
  function drawSpace(left, middle, u) {
    const point = (c, l, n) => [left + u * (0.92 * c + 0.78 * n), middle + u * (l - length / 2 + 0.16 * c - 0.53 * n + 0.45)];
    const path = (...corners) => `M${corners.map((corner) => corner.map((v) => v.toFixed(1)).join(",")).join("L")}Z`;
    for (const { n, c, l, faces } of cubes) {
      const far = n + 0.8;
      const [a, b, d, e] = [point(c, l, n), point(c + 1, l, n), point(c + 1, l + 1, n), point(c, l + 1, n)];
      const [a2, b2, d2] = [point(c, l, far), point(c + 1, l, far), point(c + 1, l + 1, far)];
      set(faces[0], { d: path(a, b, d, e) });
      set(faces[1], { d: path(a, b, b2, a2) });
      set(faces[2], { d: path(b, d, d2, b2) });
    }
    const [axisC, axisL, axisN] = [".nci-axis-0", ".nci-axis-1", ".nci-axis-2"].map((name) => space.querySelector(name));
    const down = point(channels / 2, length, 0);
    set(axisC, { x: down[0], y: down[1] + 20, "text-anchor": "middle", transform: `rotate(9.9 ${down[0]} ${down[1] + 20})` });
    const beside = point(0, length / 2, 0);
    set(axisL, { x: beside[0] - 8, y: beside[1], "text-anchor": "middle", transform: `rotate(-90 ${beside[0] - 8} ${beside[1]})` });
    const above = point(0, 0, num / 2);
    set(axisN, { x: above[0] - 12, y: above[1] - 8, "text-anchor": "middle", transform: `rotate(-34 ${above[0] - 12} ${above[1] - 8})` });
  }

  card.drawing.append(...labels.map(({ text }) => text), ...cells.map(({ group }) => group), space);

  function update() {
    const now = state(data, chosen);
    root.dataset.method = chosen.method;
    scope.hidden = !("position" in now.method.scopes);
    groups.hidden = !now.groups;
    const shown = chosen.view === "x" ? now.x : now.y;
    cells.forEach(({ box, text, mark, group }, index) => {
      text.textContent = say(shown[index], chosen.view === "x" ? 1 : 2);
      group.classList.toggle("nci-pooled", now.pooled.has(index));
      group.classList.toggle("nci-chosen", index === now.at);
      mark.style.display = now.changed && (chosen.view === "x" ? index === now.at : now.moved.includes(index)) ? "" : "none";
      if (index === now.at) group.parentNode.append(group); // its outline lies above its neighbours
      box.setAttribute("vector-effect", "non-scaling-stroke");
    });
    cubes.forEach(({ n, c, l, group }) => {
      group.classList.toggle("nci-pooled", now.pooled.has(flat(data.shape, n, c, l)));
    });
    code.textContent = now.code.join("\n");
    value.move(now.x[now.at]);
    told.tell(sentence(now));
  }

  root.append(
    html("div", { class: "nci-controls" }, methods, scope, groups),
    card,
    html("div", { class: "nci-controls" }, view, html("div", { class: "nci-row" }, ...where), value),
    code, told);
  update();
  card.fit();
});
