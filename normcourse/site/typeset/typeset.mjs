// TeX in, HTML and a style sheet out: node typeset.mjs NODE_MODULES < task.json > answer.json
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules] = process.argv.slice(2);
const { tex, formulas } = JSON.parse(readFileSync(0, "utf8"));
const MathJax = await createRequire(`${modules}/`)("mathjax").init({
  loader: { load: ["input/tex", "output/chtml", "a11y/assistive-mml"] },
  // An unknown command is an error, not a red word on the page.
  tex: { ...tex, packages: { "[-]": ["noundefined"] } },
  // The rules for letters that no page has are left out with all others that no page uses.
  chtml: { fontURL: "output/chtml/fonts/woff-v2", adaptiveCSS: false },
  startup: { typeset: false },
});

// An x of MathJax's font is 0.442 em high, one of the text font 0.459: formulas grow by as much.
const metrics = { em: 16, ex: 7.34, containerWidth: 720, scale: 0.459 / 0.442 };
const { adaptor } = MathJax.startup;
const html = formulas.map(([formula, display]) => adaptor.outerHTML(MathJax.tex2chtml(formula, { display, ...metrics })));
const style = adaptor.textContent(MathJax.chtmlStylesheet());
process.stdout.write(JSON.stringify({ html, style }));
