// A verdict of the judge, as the notebook shows it: normcourse/checks/feedback.py writes the record.

import { h, inline } from "./dom.js";

const HEADS = {
  passed: ["✓", "Passed"],
  failed: ["✗", "Not yet right"],
  error: ["✗", "Stopped with an error"],
  not_started: ["·", "Not started"],
  timeout: ["✗", "Took too long"],
};

/** Children of the box that shows a verdict; `after` is what comes last (a hint, what is next). */
export function verdict({ feedback, comparison }, { insight = null, after = [] } = {}) {
  const [mark, words] = HEADS[feedback.status];
  const head = h("p", { class: "nc-verdict-head" },
    h("span", { "aria-hidden": "true" }, `${mark} `), words);
  const parts = [head, h("p", {}, inline(happened(feedback)))];
  if (comparison) parts.push(h("p", { class: "nc-comparison" }, comparison));
  feedback.causes.forEach((cause, i) => {
    const many = feedback.causes.length > 1;
    const label = many ? `Cause ${i + 1} of ${feedback.causes.length}` : "Likely cause";
    parts.push(h("p", { class: "nc-cause" }, h("strong", {}, `${label}: `), inline(cause)));
  });
  for (const fact of feedback.evidence) {
    parts.push(h("p", {}, h("strong", {}, "Seen in your output: "), inline(fact)));
  }
  if (feedback.proven.length) parts.push(proven(feedback.proven));
  if (insight) parts.push(insight);
  if (feedback.output) {
    parts.push(h("details", { class: "nc-fold" },
      h("summary", {}, "What your code printed in this case"),
      h("pre", { class: "nc-printed", tabindex: "0" }, feedback.output)));
  }
  return [...parts, ...after];
}

function happened(feedback) {
  if (feedback.status === "not_started") return "Write the body of the function, then check it.";
  if (!feedback.case) return sentence(feedback.message);
  const setting = feedback.setting ? ` (${feedback.setting})` : "";
  return `In the case “${feedback.case}”${setting}: ${feedback.message}`;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function proven(cases) {
  const count = cases.length === 1 ? "one case" : `${cases.length} cases`;
  return h("details", { class: "nc-fold" },
    h("summary", {}, `Proven in ${count}`),
    h("ul", { class: "nc-proven" }, ...cases.map((name) => h("li", {}, inline(name)))));
}

/** A verdict without a record: what kept the code from coming to an end. */
export const OUTCOMES = {
  timeout: ["✗", "Took too long",
    "It ran for more than 15 seconds and was stopped. Is there a loop that does not end? "
    + "Your code is kept."],
  stopped: ["·", "Stopped", "Your code is kept."],
  died: ["✗", "Python broke down",
    "It ran out of memory or met an error it could not handle, and was ended. Your code is kept; "
    + "the next run starts Python anew."],
  broken: ["✗", "Python could not be started",
    "A file of it did not arrive whole. Your code is kept: try again, or check it in the "
    + "notebook or on the terminal."],
  old: ["✗", "This browser cannot run Python in a page",
    "It needs WebAssembly and module workers (Chrome 80, Firefox 114, Safari 15 or newer). Your "
    + "code is kept: check it in the notebook or on the terminal."],
};

export function outcome({ how, message }) {
  const [mark, words, text] = OUTCOMES[how];
  const parts = [
    h("p", { class: "nc-verdict-head" }, h("span", { "aria-hidden": "true" }, `${mark} `), words),
    h("p", {}, text),
  ];
  if (message && how !== "old") parts.push(h("p", { class: "nc-detail" }, message));
  return parts;
}
