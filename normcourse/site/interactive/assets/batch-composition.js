// Who is in the batch: one image's BatchNorm output moves with its company, LayerNorm's does not.

import { batchNorm, counted, layerNorm, say } from "./core.js";
import { button, html, mount, place, result, scale, set, stage, svg } from "./dom.js";

const KEPT = 14; // earlier outputs that stay as a trail

/** Outputs of the watched image (the first sample) in a batch with `company` (indices). */
export function outputs(data, company) {
  const rows = [0, ...company].map((index) => data.samples[index].x);
  return { batch: batchNorm(rows, data.eps)[0], layer: layerNorm(rows[0], data.eps) };
}

/** The result in words; `before` is the output in the batch before this one. */
export function sentence(data, company, now, before) {
  const size = `Batch of ${company.length + 1}`;
  if (!company.length) {
    return `${size}: each feature is its own mean, so BatchNorm gives 0 everywhere. LayerNorm gives what it always gave.`;
  }
  if (!before) return `${size}. Put an image in or take one out, and watch the blue dots.`;
  const moves = now.batch.map((value, d) => value - before.batch[d]);
  const largest = moves.reduce((best, move, d) => (Math.abs(move) > Math.abs(moves[best]) ? d : best), 0);
  const change = moves[largest];
  return `${size}: the watched image has not changed, yet its BatchNorm output “${data.features[largest]}” `
    + `went from ${say(before.batch[largest])} to ${say(now.batch[largest])} (${change > 0 ? "+" : ""}${say(change)}). `
    + "Its LayerNorm output did not move.";
}

/** An 8x8 digit as an SVG. */
function thumbnail(image, size) {
  const cells = image.flatMap((row, i) => row.map((ink, j) => (ink
    ? svg("rect", { x: j, y: i, width: 1.02, height: 1.02, "fill-opacity": (ink / 16).toFixed(2) })
    : null)));
  return svg("svg", { viewBox: "0 0 8 8", width: size, height: size, "aria-hidden": "true", class: "nci-digit" },
    ...cells.filter(Boolean));
}

mount("batch-composition", (root, data) => {
  let company = [...data.groups.ones];
  let trail = [];
  let before = null;
  let now = outputs(data, company);
  const told = result();

  // ---- the images: in the batch or beside it
  const inside = html("div", { class: "nci-tray", role: "group", "aria-label": "In the batch" });
  const outside = html("div", { class: "nci-tray nci-outside", role: "group", "aria-label": "Beside the batch" });
  const watched = html("div", { class: "nci-sample nci-watched" }, thumbnail(data.samples[0].image, 48), html("span", {}, "watched"));
  const items = data.samples.map((sample, index) => {
    if (!index) return null;
    const input = html("input", { type: "checkbox", "aria-label": `image ${index}, a ${sample.label}, in the batch` });
    const label = html("label", { class: "nci-sample" }, input, thumbnail(sample.image, 48));
    input.addEventListener("change", () => change(input.checked ? [...company, index] : company.filter((k) => k !== index)));
    draggable(label, index);
    return { input, label };
  });
  const presets = html("div", { class: "nci-row" },
    ...Object.entries({ ones: "only ones", zeros: "only zeros", all: "everyone", nobody: "alone" }).map(
      ([key, text]) => button(text, () => change([...data.groups[key]]))));

  function draggable(label, index) {
    let start = null;
    let dragged = false;
    label.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      start = [event.clientX, event.clientY];
      dragged = false;
      label.setPointerCapture(event.pointerId); // a quick hand leaves the image at once
    });
    label.addEventListener("pointermove", (event) => {
      if (!start) return;
      const [dx, dy] = [event.clientX - start[0], event.clientY - start[1]];
      if (!dragged && Math.hypot(dx, dy) < 6) return;
      dragged = true;
      label.classList.add("nci-dragged");
      label.style.transform = `translate(${dx}px, ${dy}px)`;
    });
    const drop = (event) => {
      start = null;
      if (!dragged) return;
      setTimeout(() => { dragged = false; }); // the click that may follow comes before this
      label.classList.remove("nci-dragged");
      label.style.transform = "";
      const over = (tray) => {
        const box = tray.getBoundingClientRect();
        return event.clientY >= box.top - 8 && event.clientY <= box.bottom + 8
          && event.clientX >= box.left - 8 && event.clientX <= box.right + 8;
      };
      if (event.type === "pointerup" && over(inside) && !company.includes(index)) change([...company, index]);
      else if (event.type === "pointerup" && over(outside)) change(company.filter((k) => k !== index));
    };
    label.addEventListener("pointerup", drop);
    label.addEventListener("pointercancel", drop);
    label.addEventListener("click", (event) => { if (dragged) event.preventDefault(); });
    label.addEventListener("dragstart", (event) => event.preventDefault());
  }

  // ---- the outputs
  const names = data.features;
  const lanes = names.map((name) => ({
    title: svg("text", { class: "nci-label nci-strong" }, name),
    lines: [svg("line", { class: "nci-lane" }), svg("line", { class: "nci-lane" })],
    ghosts: svg("g", { class: "nci-ghosts" }),
    batch: svg("circle", { class: "nci-fill-batch_norm nci-glide", r: 7.5 }),
    layer: svg("rect", { class: "nci-fill-layer_norm nci-glide", x: -6, y: -6, width: 12, height: 12 }),
    numbers: [svg("text", { class: "nci-number nci-ink-batch_norm" }), svg("text", { class: "nci-number nci-ink-layer_norm" })],
  }));
  const zero = svg("line", { class: "nci-zero" });
  const ticks = [-3, -2, -1, 0, 1, 2, 3].map((value) => ({ value, text: svg("text", { class: "nci-label", "text-anchor": "middle" }, say(value, 0)) }));
  const key = [
    svg("circle", { class: "nci-fill-batch_norm", r: 6 }), svg("text", { class: "nci-label" }, "BatchNorm"),
    svg("rect", { class: "nci-fill-layer_norm", x: -5, y: -5, width: 10, height: 10 }), svg("text", { class: "nci-label" }, "LayerNorm"),
    svg("text", { class: "nci-label" }, "output for the watched image"),
  ];
  let across = () => 0;
  const pitch = 64;
  const top = 44;
  const card = stage("For each of four features a line for BatchNorm's output and one for LayerNorm's, of the watched image.", (width) => {
    const wide = width >= 520;
    const left = wide ? 118 : 22;
    const right = width - (wide ? 66 : 54);
    const bottom = top + pitch * names.length;
    across = scale([-3.3, 3.3], [left, right]);
    lanes.forEach(({ title, lines, numbers }, d) => {
      const y = top + d * pitch + 20;
      set(title, wide ? { x: left - 16, y: y + 13, "text-anchor": "end" } : { x: 12, y: y - 12, "text-anchor": "start" });
      lines.forEach((line, k) => set(line, { x1: left, x2: right, y1: y + 20 * k, y2: y + 20 * k }));
      numbers.forEach((text, k) => set(text, { x: width - 14, y: y + 20 * k + 5, "text-anchor": "end" }));
    });
    set(zero, { x1: across(0), x2: across(0), y1: top, y2: bottom });
    ticks.forEach(({ value, text }) => set(text, { x: across(value), y: bottom + 20 }));
    const [a, b, c] = [left + 8, left + 120, width - 14];
    place(key[0], a, 20); set(key[1], { x: a + 13, y: 25 });
    place(key[2], b, 20); set(key[3], { x: b + 13, y: 25 });
    set(key[4], { x: c, y: 25, "text-anchor": "end" });
    key[4].style.display = wide ? "" : "none";
    draw();
    return bottom + 34;
  });
  card.drawing.append(zero, ...lanes.flatMap((lane) => [...lane.lines, lane.title]), ...ticks.map(({ text }) => text), ...key,
    ...lanes.flatMap((lane) => [lane.ghosts, lane.batch, lane.layer, ...lane.numbers]));

  function draw() {
    lanes.forEach((lane, d) => {
      const y = top + d * pitch + 20;
      place(lane.batch, across(now.batch[d]), y);
      place(lane.layer, across(now.layer[d]), y + 20, "rotate(45deg)");
      lane.numbers[0].textContent = say(now.batch[d]);
      lane.numbers[1].textContent = say(now.layer[d]);
      lane.ghosts.replaceChildren(...trail.map((old, k) => svg("circle", {
        class: "nci-fill-batch_norm", cx: across(old.batch[d]), cy: y, r: 5, opacity: (0.08 + (0.3 * (k + 1)) / trail.length).toFixed(2),
      })));
    });
  }

  function change(next) {
    const focused = document.activeElement;
    before = now;
    trail = [...trail, now].slice(-KEPT);
    company = next;
    now = outputs(data, company);
    update();
    if (focused && root.contains(focused)) focused.focus({ preventScroll: true });
  }

  function update() {
    items.forEach((item, index) => {
      if (!item) return;
      item.input.checked = company.includes(index);
      const tray = item.input.checked ? inside : outside;
      if (item.label.parentNode !== tray) tray.append(item.label);
    });
    draw();
    told.tell(sentence(data, company, now, before));
  }

  inside.append(watched);
  root.append(
    html("div", { class: "nci-controls" },
      html("div", { class: "nci-trays" },
        html("div", {}, html("p", { class: "nci-tray-name" }, "In the batch"), inside),
        html("div", {}, html("p", { class: "nci-tray-name" }, "Beside it"), outside)),
      presets),
    card, told);
  update();
  card.fit();
});
