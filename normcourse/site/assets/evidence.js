// The filter above the table of claims. Without this script the table stands there whole.

const table = document.querySelector("table.nc-evidence");
if (table) setUp(table);

function setUp(table) {
  const rows = [...table.tBodies[0].rows].map(readRow);
  const form = makeForm(rows);
  const place = table.closest(".pst-scrollable-table-container") ?? table;
  place.before(form);
  restore(form);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => apply(form, rows));
  form.addEventListener("reset", () => setTimeout(() => apply(form, rows)));
  addEventListener("hashchange", () => revealTarget(form, rows));
  apply(form, rows);
  revealTarget(form, rows);
}

// A row with what the filter asks of it.
function readRow(row) {
  const heads = [...row.closest("table").tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  [...row.cells].forEach((cell, k) => (cell.dataset.label = heads[k])); // shown on narrow screens
  const named = [...row.querySelectorAll("[class^=nc-chapter-]")];
  return {
    row,
    text: row.textContent.toLowerCase(),
    status: row.querySelector(".nc-status").textContent.trim(),
    chapters: named.map((part) => Number(part.className.replace("nc-chapter-", ""))),
  };
}

function makeForm(rows) {
  const form = document.createElement("form");
  form.className = "nc-filter";
  form.setAttribute("role", "search");
  form.setAttribute("aria-label", "Claims");
  const statuses = ["established", "holds under conditions", "contested", "refuted"];
  const chapters = [...new Set(rows.flatMap((one) => one.chapters))].sort((a, b) => a - b);
  form.append(
    labelled("Status", choice("status", statuses.map((word) => [word, word]))),
    labelled("Chapter", choice("chapter", chapters.map((number) => [number, `Chapter ${number}`]))),
    labelled("Words", Object.assign(document.createElement("input"), { type: "search", name: "text" })),
  );
  const count = document.createElement("p");
  count.className = "nc-count";
  count.setAttribute("role", "status");
  const all = Object.assign(document.createElement("button"), { type: "reset", textContent: "Show all" });
  form.append(count, all);
  return form;
}

function labelled(text, control) {
  const label = document.createElement("label");
  const name = Object.assign(document.createElement("span"), { textContent: text });
  label.append(name, control);
  return label;
}

function choice(name, options) {
  const select = Object.assign(document.createElement("select"), { name });
  select.append(new Option("all", ""), ...options.map(([value, text]) => new Option(text, value)));
  return select;
}

function apply(form, rows) {
  const { status, chapter, text } = Object.fromEntries(new FormData(form));
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const one of rows) {
    const fits =
      (!status || one.status === status) &&
      (!chapter || one.chapters.includes(Number(chapter))) &&
      words.every((word) => one.text.includes(word));
    one.row.hidden = !fits;
    shown += fits;
  }
  form.querySelector(".nc-count").textContent =
    shown === rows.length ? `All ${rows.length} claims` : `${shown} of ${rows.length} claims`;
  remember({ status, chapter, text });
}

// What is chosen stands in the address, so that it can be sent to somebody.
function remember(chosen) {
  const address = new URL(location);
  for (const [name, value] of Object.entries(chosen)) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  if (address.href !== location.href) history.replaceState(null, "", address);
}

function restore(form) {
  const asked = new URL(location).searchParams;
  for (const name of ["status", "chapter", "text"]) {
    const control = form.elements[name];
    const value = asked.get(name);
    if (!value) continue;
    control.value = value;
    if (control.selectedIndex === -1) control.selectedIndex = 0;
  }
}

// A link to a claim that the filter hides shows all claims again.
function revealTarget(form, rows) {
  const target = document.getElementById(location.hash.slice(1));
  const row = target && rows.find((one) => one.row.contains(target))?.row;
  if (!row) return;
  if (row.hidden) {
    form.reset();
    setTimeout(() => target.scrollIntoView({ behavior: "instant" }));
  } else target.scrollIntoView({ behavior: "instant" });
}
