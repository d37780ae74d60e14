// The arithmetic of the figures, without a page: every function here is compared with
// normcourse.norms on the exported numbers (tests/site/js).

export const sum = (values) => values.reduce((total, value) => total + value, 0);
export const mean = (values) => sum(values) / values.length;

/** The biased variance, in two passes. */
export function variance(values) {
  const center = mean(values);
  return mean(values.map((value) => (value - center) ** 2));
}

/** Mean 0 and variance var / (var + eps): what every method here does to the values it pools. */
export function standardize(values, eps) {
  const center = mean(values);
  const invStd = 1 / Math.sqrt(variance(values) + eps);
  return { mean: center, invStd, xHat: values.map((value) => (value - center) * invStd) };
}

/** RMSNorm's step: no mean is removed. */
export function divideByRms(values, eps) {
  const rms = Math.sqrt(mean(values.map((value) => value * value)) + eps);
  return { rms, xHat: values.map((value) => value / rms) };
}

/** Index of (n, c, l) in the flat list of an array of the given shape. */
export const flat = ([, channels, length], n, c, l) => (n * channels + c) * length + l;

/**
 * For each value of an (N, C, L) array, in flat order, the number of the pool it belongs to.
 *
 * `axes` are those that one mean pools; with `groups`, of the view (N, G, C / G, L).
 */
export function pools(shape, axes, groups = 0) {
  const view = groups ? [shape[0], groups, shape[1] / groups, shape[2]] : shape;
  const count = view.reduce((product, size) => product * size, 1);
  return Array.from({ length: count }, (_, index) => {
    let pool = 0;
    let rest = index;
    let below = count;
    view.forEach((size, axis) => {
      below /= size;
      const place = Math.floor(rest / below);
      rest %= below;
      if (!axes.includes(axis)) pool = pool * size + place;
    });
    return pool;
  });
}

/** Apply `step` to each pool of a flat list; returns the outputs in the same order. */
export function normalizePools(values, poolOf, step) {
  const members = new Map();
  poolOf.forEach((pool, index) => {
    if (!members.has(pool)) members.set(pool, []);
    members.get(pool).push(index);
  });
  const y = new Array(values.length);
  for (const indices of members.values()) {
    const { xHat } = step(indices.map((index) => values[index]));
    indices.forEach((index, place) => { y[index] = xHat[place]; });
  }
  return y;
}

/** BatchNorm of rows (N, D) in training mode: each column on its own. */
export function batchNorm(rows, eps) {
  const columns = rows[0].map((_, d) => standardize(rows.map((row) => row[d]), eps).xHat);
  return rows.map((_, n) => columns.map((column) => column[n]));
}

export const layerNorm = (row, eps) => standardize(row, eps).xHat;

/**
 * Running mean and variance after one more batch; `momentum` weighs the batch, null averages all
 * batches. The stored variance is the unbiased one, as PyTorch stores it.
 */
export function updateRunning({ mean: oldMean, var: oldVar }, batch, momentum, seen) {
  const weight = momentum === null ? 1 / (seen + 1) : momentum;
  const unbiased = variance(batch) * (batch.length / (batch.length - 1));
  return {
    mean: (1 - weight) * oldMean + weight * mean(batch),
    var: (1 - weight) * oldVar + weight * unbiased,
  };
}

/** The running statistics after every batch, starting from mean 0 and variance 1. */
export function follow(batches, momentum) {
  let running = { mean: 0, var: 1 };
  return batches.map((batch, seen) => (running = updateRunning(running, batch, momentum, seen)));
}

/** What BatchNorm gives for a batch in evaluation. */
export const frozen = (batch, running, eps) =>
  batch.map((value) => (value - running.mean) / Math.sqrt(running.var + eps));

/** The gradient of one feature: as it comes, without its mean, without its part along x_hat, / std. */
export function backwardStages(x, dy, eps) {
  const { invStd, xHat } = standardize(x, eps);
  const center = mean(dy);
  const along = mean(dy.map((value, i) => value * xHat[i]));
  const centered = dy.map((value) => value - center);
  const rest = centered.map((value, i) => value - xHat[i] * along);
  return { xHat, invStd, stages: [dy, centered, rest, rest.map((value) => value * invStd)] };
}

export const dot = (a, b) => sum(a.map((value, i) => value * b[i]));
export const norm = (a) => Math.sqrt(dot(a, a));

/**
 * Orthonormal directions for three values: all equal, along x_hat, and what is left. Where x is
 * constant the second is any direction whose entries sum to 0.
 */
export function directions(xHat) {
  const equal = [1, 1, 1].map((value) => value / Math.sqrt(3));
  const length = norm(xHat);
  const along = length > 1e-9 ? xHat.map((value) => value / length) : [1, -1, 0].map((v) => v / Math.SQRT2);
  const left = [
    equal[1] * along[2] - equal[2] * along[1],
    equal[2] * along[0] - equal[0] * along[2],
    equal[0] * along[1] - equal[1] * along[0],
  ];
  return [equal, along, left];
}

/** A number as the text writes it: fixed digits, a real minus sign, no minus zero. */
export function say(value, digits = 2) {
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

/** A number to two significant digits: 0.34, 5.8, 17, 85,000. */
export function roughly(value) {
  if (value === 0) return "0";
  const digits = Math.max(0, 1 - Math.floor(Math.log10(Math.abs(value))));
  const rounded = Number(value.toPrecision(2));
  return rounded.toLocaleString("en-US", { minimumFractionDigits: Math.min(digits, 4), maximumFractionDigits: Math.min(digits, 4) }).replace("-", "−");
}

/** "1 value", "12 values". */
export const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
