// The exported numbers of a figure, with what Python says must come out.

import { readFileSync } from "node:fs";
import assert from "node:assert/strict";

const folder = new URL("../../../normcourse/site/interactive/data/", import.meta.url);

export const exported = (name) => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf-8"));

/** Numbers, lists of numbers and lists of lists agree to nine decimals. */
export function assertClose(got, expected, where = "") {
  if (Array.isArray(expected)) {
    assert.equal(got.length, expected.length, `${where}: length`);
    expected.forEach((value, k) => assertClose(got[k], value, `${where}[${k}]`));
    return;
  }
  assert.ok(Math.abs(got - expected) <= 1e-9 * Math.max(1, Math.abs(expected)), `${where}: expected ${expected}, got ${got}`);
}
