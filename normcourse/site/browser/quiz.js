// Quizzes: answered in the page, every option explained, remembered in this browser.

import { h, newId } from "./dom.js";
import * as store from "./store.js";

export function openQuiz(quiz) {
  const questions = [...quiz.querySelectorAll(".nc-question")].map((place) => KINDS[place.dataset.kind](place));
  const line = h("p", { class: "nc-score", role: "status" });
  const again = h("button", { class: "nc-button nc-quiet", type: "button" }, "Answer anew");
  again.addEventListener("click", () => {
    for (const question of questions) question.clear();
    questions[0].place.querySelector("summary, input, button").focus();
  });
  quiz.append(h("div", { class: "nc-tools nc-quiz-end" }, line, again));
  const show = () => {
    const answers = questions.map((question) => question.kept).filter(Boolean);
    const right = answers.filter((answer) => answer.first).length;
    again.hidden = answers.length === 0;
    line.textContent = answers.length
      ? `${answers.length} of ${questions.length} answered, ${right} right at the first try.`
      : `${questions.length} questions. Answers are remembered in this browser.`;
  };
  for (const question of questions) question.onAnswer = show;
  show();
}

/** A question: what was answered first counts, what was answered last is shown. */
class Question {
  constructor(place) {
    this.place = place;
    this.name = place.dataset.question;
    this.kept = store.answerTo(this.name);
    this.onAnswer = () => {};
    this.sign = h("span", { class: "nc-answered" });
    place.querySelector(".nc-question-number").append(this.sign);
    this.mark();
  }

  keep(right, given) {
    this.kept = { first: this.kept?.first ?? right, right, given };
    store.keepAnswer(this.name, this.kept);
    this.mark();
    this.onAnswer();
  }

  mark() {
    const { first, right } = this.kept ?? {};
    this.sign.textContent = !this.kept ? "" : right ? (first ? "✓ right" : "✓ right in the end") : "✗ not yet";
    this.sign.className = `nc-answered ${right ? "nc-right" : "nc-wrong"}`;
  }

  clear() {
    this.kept = null;
    store.forgetAnswer(this.name);
    for (const fold of this.place.querySelectorAll("details")) fold.open = false;
    this.mark();
    this.onAnswer();
  }
}

/** Choose: opening an option is choosing it. */
class Choose extends Question {
  constructor(place) {
    super(place);
    this.options = [...place.querySelectorAll(".nc-option")];
    for (const at of this.kept?.given ?? []) if (this.options[at]) this.options[at].open = true;
    this.options.forEach((option, at) => {
      option.addEventListener("toggle", () => {
        const given = this.kept?.given ?? [];
        if (!option.open || given.includes(at)) return;
        const right = option.dataset.correct === "true" || (this.kept?.right ?? false);
        this.keep(right, [...given, at]);
      });
    });
  }
}

/** What a typed number may mean: "2,048" is two thousand or a little more than two. */
export function readings(text) {
  const plain = text.trim().replace(/[−–]/g, "-").replace(/(?<=\d)[\s\u202f](?=\d)/g, "");
  const parts = (words) => words.split("/").map((part) => (part.trim() === "" ? NaN : Number(part)));
  const value = ([over, under = 1, ...more]) => (more.length ? NaN : over / under);
  const both = [plain.replace(",", "."), plain.replaceAll(",", "")];
  return [...new Set(both.map((words) => value(parts(words))))].filter(Number.isFinite);
}

/** A number: typed in, compared with the answer and with the wrong ones people find. */
class NumberQuestion extends Question {
  constructor(place) {
    super(place);
    const label = newId("answer");
    this.input = h("input", { id: label, class: "nc-input", inputmode: "decimal", autocomplete: "off" });
    this.said = h("div", { class: "nc-said", role: "status" });
    const form = h("form", { class: "nc-answer-form" },
      h("label", { for: label }, "Your answer"), this.input,
      h("button", { class: "nc-button nc-main", type: "submit" }, "Check"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.answer();
    });
    place.querySelector("details.nc-answer").before(form, this.said);
    if (this.kept) {
      this.input.value = this.kept.given;
      this.judge(readings(this.kept.given));
    }
  }

  answer() {
    const values = readings(this.input.value);
    if (!values.length) {
      this.said.replaceChildren(h("p", {}, "Type a number, such as 12, 0.5 or 3/4."));
      return;
    }
    this.keep(this.judge(values), this.input.value);
  }

  judge(values) {
    const { answer, tolerance } = this.place.dataset;
    const near = (target) => values.some((value) => Math.abs(value - target) <= Number(tolerance));
    const right = near(Number(answer));
    const said = [h("p", { class: `nc-verdict ${right ? "nc-right" : "nc-wrong"}` }, right ? "✓ Right." : "✗ Not this one.")];
    if (right) {
      const fold = this.place.querySelector("details.nc-answer .nc-fold-body");
      said.push(...[...fold.children].filter((part) => part.localName === "p").slice(1).map((part) => part.cloneNode(true)));
    } else {
      const known = [...this.place.querySelectorAll("dt[data-value]")].find((term) => near(Number(term.dataset.value)));
      if (known) said.push(...[...known.nextElementSibling.childNodes].map((part) => part.cloneNode(true)));
      else said.push(h("p", {}, "Try again, or open the answer."));
    }
    this.said.replaceChildren(...said);
    return right;
  }

  clear() {
    this.input.value = "";
    this.said.replaceChildren();
    super.clear();
  }
}

/** An order: every line has a button up and a button down. */
class Order extends Question {
  constructor(place) {
    super(place);
    this.list = place.querySelector("ul.nc-order");
    this.lines = [...this.list.children]; // as the page mixed them
    this.said = h("div", { class: "nc-said", role: "status" });
    for (const line of this.lines) {
      const text = line.textContent.trim();
      const words = h("span", { class: "nc-line" });
      words.append(...line.childNodes);
      const move = (step, sign, where) => h("button", {
        class: "nc-move", type: "button", "aria-label": `Move ${where}: ${text}`,
        onclick: (event) => this.move(line, step, event.currentTarget),
      }, sign);
      line.append(words, move(-1, "↑", "up"), move(1, "↓", "down"));
    }
    const check = h("button", { class: "nc-button nc-main", type: "button", onclick: () => this.answer() }, "Check the order");
    this.list.classList.add("nc-movable");
    this.list.after(h("div", { class: "nc-tools" }, check), this.said);
    if (this.kept) {
      this.put(this.kept.given);
      this.judge();
    }
  }

  get order() { return [...this.list.children].map((line) => Number(line.dataset.position)); }

  put(positions) {
    const at = (line) => positions.indexOf(Number(line.dataset.position));
    this.list.append(...[...this.lines].sort((one, other) => at(one) - at(other)));
  }

  move(line, step, button) {
    const lines = [...this.list.children];
    const to = lines.indexOf(line) + step;
    if (to < 0 || to >= lines.length) return;
    if (step < 0) lines[to].before(line);
    else lines[to].after(line);
    button.focus(); // moving an element takes the focus away
    this.said.replaceChildren(h("p", { class: "nc-unseen" }, `Now number ${to + 1} of ${lines.length}.`));
  }

  answer() { this.keep(this.judge(), this.order); }

  judge() {
    const { order } = this;
    const wrong = order.findIndex((position, at) => position !== at + 1);
    const right = wrong < 0;
    const said = [h("p", { class: `nc-verdict ${right ? "nc-right" : "nc-wrong"}` },
      right ? "✓ Right." : "✗ Not yet.")];
    if (right) {
      const fold = this.place.querySelector("details.nc-answer .nc-fold-body");
      said.push(...[...fold.children].slice(1).map((part) => part.cloneNode(true)));
    } else {
      said.push(h("p", {}, wrong === 0
        ? "The first line does not come first."
        : `The first ${wrong === 1 ? "line is" : `${wrong} lines are`} right; then something else comes.`));
    }
    this.said.replaceChildren(...said);
    return right;
  }

  clear() {
    this.list.append(...this.lines);
    this.said.replaceChildren();
    super.clear();
  }
}

const KINDS = {
  choose: (place) => new Choose(place),
  number: (place) => new NumberQuestion(place),
  order: (place) => new Order(place),
};
