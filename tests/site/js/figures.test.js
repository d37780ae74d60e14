// What each figure shows and says for a state of its controls.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as axes from "../../../normcourse/site/interactive/assets/axes-explorer.js";
import * as batch from "../../../normcourse/site/interactive/assets/batch-composition.js";
import * as running from "../../../normcourse/site/interactive/assets/running-statistics.js";
import * as depth from "../../../normcourse/site/interactive/assets/depth.js";
import * as choose from "../../../normcourse/site/interactive/assets/choose.js";
import * as backward from "../../../normcourse/site/interactive/assets/backward.js";
import { assertClose, exported } from "./exported.js";

const explorer = exported("axes-explorer");
const at = (method, more = {}) => axes.state(explorer, { method, scope: "position", groups: 2, at: [1, 2, 1], value: null, ...more });

test("axes: every method's outputs are those of the references", () => {
  const expected = Object.entries(explorer.expected);
  assert.equal(expected.length, 9);
  for (const [key, y] of expected) {
    const [method, option] = key.split("/");
    const now = at(method, { scope: option ?? "", groups: Number(option) });
    assertClose(now.y, y.flat(2), key);
  }
});

test("axes: how many values a mean pools, and how many means there are", () => {
  const count = (...chosen) => { const now = at(...chosen); return [now.members.length, now.count]; };
  assert.deepEqual(count("batch_norm"), [12, 4]);
  assert.deepEqual(count("layer_norm"), [4, 12]);
  assert.deepEqual(count("layer_norm", { scope: "example" }), [16, 3]);
  assert.deepEqual(count("instance_norm"), [4, 12]);
  assert.deepEqual(count("group_norm"), [8, 6]);
  assert.deepEqual(count("group_norm", { groups: 1 }), [16, 3]);
});

test("axes: a moved input moves the outputs of its pool and no others", () => {
  for (const method of ["batch_norm", "layer_norm", "instance_norm", "group_norm", "rms_norm"]) {
    const now = at(method, { value: 9 });
    assert.deepEqual(now.moved, now.members, method);
    assert.match(axes.sentence(now), new RegExp(`You moved one input by \\+6\\.0: ${now.members.length} outputs of 48 moved\\.`));
  }
  assert.doesNotMatch(axes.sentence(at("batch_norm")), /You moved/);
});

test("axes: the sentence gives the numbers", () => {
  const now = at("batch_norm");
  assert.match(axes.sentence(now), /^One mean pools 12 values; there are 4 of them\. Here: mean 1\.66, /);
  assert.match(axes.sentence(at("rms_norm")), /^One root mean square pools 4 values; there are 12 of them\. Here: root mean square /);
});

const digits = exported("batch-composition");

test("batch: the watched image's outputs for each preset", () => {
  for (const { batch: rows, batch_norm: expected } of digits.expected.batches) {
    const now = batch.outputs(digits, rows.slice(1));
    assertClose(now.batch, expected);
    assertClose(now.layer, digits.expected.layer_norm[0]);
  }
});

test("batch: the sentence names the largest move; alone every output is 0", () => {
  const ones = batch.outputs(digits, digits.groups.ones);
  const zeros = batch.outputs(digits, digits.groups.zeros);
  const text = batch.sentence(digits, digits.groups.zeros, zeros, ones);
  assert.match(text, /^Batch of 5: .*“lower right” went from −0\.73 to 1\.73 \(\+2\.46\)\. Its LayerNorm output did not move\.$/);
  assertClose(batch.outputs(digits, []).batch, [0, 0, 0, 0]);
  assert.match(batch.sentence(digits, [], batch.outputs(digits, []), ones), /^Batch of 1: .* gives 0 everywhere/);
});

const stream = exported("running-statistics");

test("running: both modes of the last step are those of the reference", () => {
  for (const { scenario, momentum, train, eval: evaluated } of stream.expected) {
    const chosen = { scenario, momentum, step: stream.scenarios[scenario].length };
    assertClose(running.state(stream, { ...chosen, mode: "train" }).y, train);
    assertClose(running.state(stream, { ...chosen, mode: "eval" }).y, evaluated);
  }
});

test("running: the momentum slider covers 0.005 to 1 and finds its way back", () => {
  assert.deepEqual([0, 100].map(running.momentumAt), [0.005, 1]);
  for (const momentum of [0.01, 0.1, 0.5]) {
    assert.ok(Math.abs(Math.log(running.momentumAt(running.placeOf(momentum)) / momentum)) < 0.05);
  }
  assert.equal(running.momentumAt(running.placeOf(0.1)), 0.1);
});

test("running: the sentence tells the modes apart", () => {
  const chosen = { scenario: "jump", momentum: null, step: 1, mode: "eval" };
  assert.match(running.sentence(running.state(stream, chosen), chosen), /^After 1 step, all batches averaged: .* In evaluation /);
  const training = { ...chosen, mode: "train" };
  assert.match(running.sentence(running.state(stream, training), training), /have mean 0 and standard deviation 1/);
});

test("running: grid lines are round and few", () => {
  assert.deepEqual(running.levels(-1, 5.2).map((v) => v.toFixed(0)), ["0", "2", "4"]);
  assert.deepEqual(running.levels(-0.9, 1.9).map((v) => v.toFixed(1)), ["0.0", "1.0"]);
});

const nets = exported("depth");

test("depth: every curve is as long as the net is deep, and quartiles enclose the median", () => {
  for (const { name } of nets.stacks) {
    for (const count of nets.depths) {
      for (const quantity of ["gradient", "variance"]) {
        const { low, median, high } = depth.curve(nets, { stack: name, depth: count, quantity });
        assert.equal(median.length, count);
        assert.ok(median.every((value, k) => low[k] <= value && value <= high[k]));
      }
    }
  }
});

test("depth: limits hold every curve that shares the axis", () => {
  for (const stack of ["pre", "plain_batch_norm"]) {
    for (const quantity of ["gradient", "variance"]) {
      const [low, high] = depth.limits(nets, { stack, quantity });
      const shown = nets.stacks.filter(({ name }) => stack !== "pre" || name !== "plain_batch_norm");
      const values = shown.flatMap(({ depths }) => nets.depths.flatMap((count) => Object.values(depths[count][quantity]).flat()));
      assert.ok(low <= Math.min(...values) && Math.max(...values) <= high, `${stack} ${quantity}`);
    }
  }
});

test("depth: the sentence compares first and last layer of the recorded medians", () => {
  for (const { name, title, depths } of nets.stacks) {
    const { median } = depths[64].gradient;
    const text = depth.sentence(nets, { stack: name, depth: 64, quantity: "gradient" });
    assert.ok(text.startsWith(`${title}, 64 layers, median of ${nets.seeds} seeds: the gradient`), text);
    assert.equal(/of the first layer is/.test(text), median[0] > 1.25 * median[63], text);
  }
  assert.match(depth.sentence(nets, { stack: "post", depth: 64, quantity: "variance" }), /stays near 1\.0 from/);
});

test("depth: powers of ten in words, and labels that keep their distance", () => {
  assert.deepEqual([0.01, 0.1, 1, 1000, 1e5].map(depth.power), ["0.01", "0.1", "1", "1,000", "10⁵"]);
  const tags = depth.apart([{ y: 100 }, { y: 98 }, { y: 20 }], 15, 200).map(({ y }) => y);
  assert.deepEqual(tags, [100, 85, 20]);
});

const guide = exported("choose");

test("choose: the methods that work are those of the judge, in its order", () => {
  const cases = Object.entries(guide.cases);
  assert.ok(cases.length >= 10);
  for (const [name, situation] of cases) {
    const judged = choose.verdicts(guide, situation);
    assert.deepEqual(judged.filter(({ works }) => works).map(({ key }) => key), guide.expected[name], name);
    assert.equal(judged.length, guide.methods.length);
    assert.ok(judged.every(({ works, reasons }) => works === (reasons.length === 0)));
  }
});

test("choose: a verdict for every situation the form can describe", () => {
  const count = Object.values(guide.fields).reduce((product, values) => product * values.length, 1);
  assert.equal(guide.verdicts.length, count);
  const last = Object.fromEntries(Object.entries(guide.fields).map(([name, values]) => [name, values.at(-1)]));
  assert.equal(choose.placeOf(guide.fields, last), count - 1);
});

test("choose: what does not apply is put at rest", () => {
  const table = choose.settled({ data: "table", contrast: "label", padded: true, causal: true });
  assert.deepEqual(table, { data: "table", contrast: "neutral", padded: false, causal: false });
  const tokens = choose.settled({ data: "tokens", contrast: "label", padded: true, causal: true });
  assert.deepEqual(tokens, { data: "tokens", contrast: "neutral", padded: true, causal: true });
});

test("choose: one, several and no method in words", () => {
  const judged = (...works) => guide.methods.map((method, k) => ({ ...method, works: works.includes(k) }));
  assert.equal(choose.sentence(judged()), "No method is left: the demands exclude one another. One of them has to go.");
  assert.equal(choose.sentence(judged(0)), "One method is left: BatchNorm.");
  assert.equal(choose.sentence(judged(1, 2, 3)), "Nothing speaks against GroupNorm, LayerNorm and RMSNorm.");
});

const gradient = exported("backward");

test("backward: after the steps nothing is left along the two directions", () => {
  const { components } = backward.state(gradient, gradient);
  const [dy, centered, rest, dx] = components;
  assert.ok(Math.min(...dy.map(Math.abs)) > 0.5, "the example has a part in every direction");
  assert.ok(Math.abs(centered[0]) < 1e-12 && Math.abs(centered[1] - dy[1]) < 1e-12);
  assert.ok(Math.abs(rest[1]) < 1e-4 && Math.abs(rest[2] - dy[2]) < 1e-12); // eps leaves a trace
  assertClose(dx[2], rest[2] * backward.state(gradient, gradient).invStd);
});

test("backward: each step has its sentence", () => {
  const now = backward.state(gradient, gradient);
  assert.equal(backward.sentence(now, 0), "The gradient that arrives is dy = (0.70, −0.30, 1.80). Its mean is 0.73.");
  assert.match(backward.sentence(now, 1), /^Without its mean it is \(−0\.03, −1\.03, 1\.07\)/);
  assert.match(backward.sentence(now, 2), /^Without its part along x̂ it is /);
  assert.match(backward.sentence(now, 3), /it is dx = .*, \d+ % as long as dy\.$/);
  const still = backward.state(gradient, { x: [1, 1, 1], dy: [0, 0, 0] });
  assert.match(backward.sentence(still, 3), /as dy is 0\.$/);
});
