// What makes a page alive. Every page loads this; what it needs beyond, it loads when it is there.

import { notice, TROUBLES } from "./notice.js";
import { keepOffline } from "./offline.js";
import { watchSidebar } from "./sidebar.js";
import { onTrouble } from "./store.js";

const all = (selector) => [...document.querySelectorAll(selector)];
const cards = all(".nc-exercise[data-exercise]");
const tries = all(".nc-try[data-try]");
const quizzes = all(".nc-quiz[data-quiz]");
const overviews = all("[data-progress-overview]");

async function cells() {
  const { available, reason } = await import("./python.js");
  const { ExerciseCell, foldOtherWays, sayWhy, watchCard } = await import("./exercise.js");
  const { TryCell } = await import("./cell.js");
  for (const card of cards) {
    watchCard(card);
    if (card.dataset.runtime !== "numpy") continue;
    if (available) {
      foldOtherWays(card);
      new ExerciseCell(card);
    } else {
      sayWhy(card, reason);
    }
  }
  for (const element of tries) {
    if (available) new TryCell(element);
    else sayWhy(element, reason);
  }
}

const writes = cards.length + tries.length + quizzes.length + overviews.length > 0;
if (writes) onTrouble((reason) => notice(TROUBLES[reason]));
if (cards.length || tries.length) cells();
if (quizzes.length) import("./quiz.js").then(({ openQuiz }) => quizzes.forEach(openQuiz));
if (overviews.length) import("./overview.js").then(({ overview }) => overviews.forEach(overview));
watchSidebar();
keepOffline(cards.length + tries.length > 0);
