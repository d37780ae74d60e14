// The arithmetic of the figures gives the numbers of normcourse.norms.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as core from "../../../normcourse/site/interactive/assets/core.js";
import { assertClose, exported } from "./exported.js";

test("the worked example 2, 4, 6, 8", () => {
  const { mean, invStd, xHat } = core.standardize([2, 4, 6, 8], 0);
  assert.equal(mean, 5);
  assertClose(invStd, 1 / Math.sqrt(5));
  assertClose(xHat, [-3, -1, 1, 3].map((d) => d / Math.sqrt(5)));
});

test("BatchNorm of every exported batch", () => {
  const data = exported("batch-composition");
  assert.ok(data.expected.batches.length >= 4);
  for (const { batch, batch_norm: expected } of data.expected.batches) {
    const rows = batch.map((index) => data.samples[index].x);
    assertClose(core.batchNorm(rows, data.eps)[0], expected, `batch ${batch}`);
  }
});

test("LayerNorm of every exported sample", () => {
  const data = exported("batch-composition");
  data.samples.forEach(({ x }, k) => assertClose(core.layerNorm(x, data.eps), data.expected.layer_norm[k], `sample ${k}`));
});

test("running statistics after every recorded step, for every momentum", () => {
  const data = exported("running-statistics");
  assert.equal(data.expected.length, 3 * data.momenta.length);
  for (const { scenario, momentum, kept } of data.expected) {
    const running = core.follow(data.scenarios[scenario], momentum);
    for (const { step, mean, var: variance } of kept) {
      assertClose(running[step - 1].mean, mean, `${scenario}, ${momentum}, ${step}`);
      assertClose(running[step - 1].var, variance, `${scenario}, ${momentum}, ${step}`);
    }
  }
});

test("the last batch in training and in evaluation", () => {
  const data = exported("running-statistics");
  for (const { scenario, momentum, train, eval: evaluated } of data.expected) {
    const batches = data.scenarios[scenario];
    const last = batches.at(-1);
    assertClose(core.standardize(last, data.eps).xHat, train);
    assertClose(core.frozen(last, core.follow(batches, momentum).at(-1), data.eps), evaluated);
  }
});

test("the gradient after every step", () => {
  const data = exported("backward");
  assert.ok(data.expected.length >= 7);
  for (const { x, dy, x_hat: xHat, inv_std: invStd, stages } of data.expected) {
    const got = core.backwardStages(x, dy, data.eps);
    assertClose(got.xHat, xHat);
    assertClose(got.invStd, invStd);
    assertClose(got.stages, stages);
  }
});

test("directions are orthonormal, also where x is constant", () => {
  for (const xHat of [...exported("backward").expected.map((one) => one.x_hat), [0, 0, 0]]) {
    const axes = core.directions(xHat);
    axes.forEach((a, i) => axes.forEach((b, j) => assertClose(core.dot(a, b), i === j ? 1 : 0, `${i}, ${j}`)));
  }
});

test("pools of the axes, and of a view in groups", () => {
  const ids = (axes, groups) => core.pools([2, 4, 1], axes, groups).join("");
  assert.equal(ids([0, 2]), "01230123");
  assert.equal(ids([1, 2]), "00001111");
  assert.equal(ids([2]), "01234567");
  assert.equal(ids([2, 3], 2), "00112233");
  assert.equal(core.flat([3, 4, 4], 1, 2, 1), 25);
});

test("numbers in words", () => {
  assert.equal(core.say(-1.3416), "−1.34");
  assert.equal(core.say(-0.001), "0.00");
  assert.deepEqual([5.93, 0.347, 17.2, 84710, 0].map(core.roughly), ["5.9", "0.35", "17", "85,000", "0"]);
  assert.equal(core.counted(1, "value"), "1 value");
  assert.equal(core.counted(12, "value"), "12 values");
});
