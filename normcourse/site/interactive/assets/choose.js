// Which normalization, where: the verdicts of the judge's own rules, listed for every situation.

import { calm, checkbox, html, mount, radios, result, select, slider } from "./dom.js";

const LABELS = {
  data: { images: "images", tokens: "tokens", table: "rows of a table" },
  contrast: { neutral: "nothing special", nuisance: "a nuisance to remove", label: "what tells classes apart" },
};

/** Place of a situation in the list of verdicts: the fields in their order, the last one fastest. */
export function placeOf(fields, situation) {
  return Object.entries(fields).reduce((at, [name, values]) => at * values.length + values.indexOf(situation[name]), 0);
}

/** For each method, in order of rank: does it work, what speaks for it and what against it. */
export function verdicts(data, situation) {
  const raised = [...data.verdicts[placeOf(data.fields, situation)]].map((digit) => data.objections[data.digits.indexOf(digit)]);
  const judged = Object.entries(data.orders[situation.data]).map(([key, why]) => {
    const method = data.methods.find((one) => one.key === key);
    const reasons = raised.filter(({ against }) => against.includes(method.key)).map(({ reason }) => reason);
    return { ...method, why, reasons, works: !reasons.length };
  });
  return [...judged.filter(({ works }) => works), ...judged.filter(({ works }) => !works)];
}

/** A situation as the form can hold it: what does not apply is put at rest. */
export function settled(situation) {
  const images = situation.data === "images";
  const tokens = situation.data === "tokens";
  return {
    ...situation,
    contrast: images ? situation.contrast : "neutral",
    padded: tokens && situation.padded,
    causal: tokens && situation.causal,
  };
}

/** The result in words. */
export function sentence(judged) {
  const titles = judged.filter(({ works }) => works).map(({ title }) => title);
  if (!titles.length) return "No method is left: the demands exclude one another. One of them has to go.";
  if (titles.length === 1) return `One method is left: ${titles[0]}.`;
  return `Nothing speaks against ${titles.slice(0, -1).join(", ")} and ${titles.at(-1)}.`;
}

mount("choose", (root, data) => {
  let situation = { ...Object.values(data.cases)[0] };
  const told = result();
  const choose = (key) => (value) => { situation = settled({ ...situation, [key]: value }); cases.choose(""); update(); };
  const batches = data.fields.batch;

  const cases = select("Start from", [["", "a situation of your own"], ...Object.keys(data.cases).map((name) => [name, name])],
    Object.keys(data.cases)[0], (name) => {
      if (name) situation = { ...data.cases[name] };
      update();
    });
  const kind = radios("The data are", Object.entries(LABELS.data), situation.data, choose("data"));
  const batch = slider("Examples per batch and device",
    { min: 0, max: batches.length - 1, value: batches.indexOf(situation.batch), format: (at) => String(batches[at]) },
    (at) => choose("batch")(batches[at]));
  const contrast = radios("The contrast of an image is", Object.entries(LABELS.contrast), situation.contrast, choose("contrast"));
  const padded = checkbox("sequences are padded to one length", situation.padded, choose("padded"));
  const causal = checkbox("no position may see a later one", situation.causal, choose("causal"));
  const shift = checkbox("in use, the inputs come from elsewhere", situation.shift, choose("shift"));
  const free = checkbox("at inference the norm must cost nothing", situation.free, choose("free"));

  const items = new Map(data.methods.map((method) => [method.key, {
    item: html("li", { class: `nci-method nci-is-${method.key}_norm` }),
    sign: html("span", { class: "nci-sign", "aria-hidden": "true" }),
    word: html("span", { class: "nci-works" }),
    reasons: html("ul", { class: "nci-reasons" }),
  }]));
  for (const method of data.methods) {
    const { item, sign, word, reasons } = items.get(method.key);
    item.append(html("div", { class: "nci-method-head" }, sign, html("strong", {}, method.title), word),
      html("p", { class: "nci-pools" }, `pools ${method.pooled}`), reasons);
  }
  const list = html("ol", { class: "nci-ranking", "aria-label": "Methods, those that work first" });

  function update() {
    kind.choose(situation.data);
    batch.move(batches.indexOf(situation.batch));
    contrast.choose(situation.contrast);
    for (const [line, key] of [[padded, "padded"], [causal, "causal"], [shift, "shift"], [free, "free"]]) line.check(situation[key]);
    contrast.disabled = situation.data !== "images";
    for (const line of [padded, causal]) line.input.disabled = situation.data !== "tokens";
    const judged = verdicts(data, situation);
    const before = new Map(judged.map(({ key }) => [key, items.get(key).item.getBoundingClientRect().top]));
    for (const { key, why, works, reasons } of judged) {
      const entry = items.get(key);
      entry.item.classList.toggle("nci-out", !works);
      entry.sign.textContent = works ? "✓" : "✗";
      entry.word.textContent = works ? "nothing speaks against it" : "does not work here";
      entry.reasons.replaceChildren(...(works ? [why] : reasons).map((reason) => html("li", {}, reason)));
      list.append(entry.item);
    }
    if (!calm()) judged.forEach(({ key }) => slide(items.get(key).item, before.get(key)));
    told.tell(sentence(judged));
  }

  /** From where an entry was to where it is. */
  function slide(item, before) {
    const distance = before - item.getBoundingClientRect().top;
    if (distance && before) {
      item.animate([{ transform: `translateY(${distance}px)` }, { transform: "none" }], { duration: 260, easing: "ease-out" });
    }
  }

  root.append(
    html("div", { class: "nci-choose" },
      html("div", { class: "nci-controls nci-form" }, cases, kind, batch, contrast,
        html("fieldset", { class: "nci-lines" }, html("legend", {}, "And"), shift, free, padded, causal)),
      list),
    told);
  update();
});
