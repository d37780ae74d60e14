// What makes a page alive. Every page loads this; what it needs beyond, it loads when it is there.

const cards = document.querySelectorAll(".nc-exercise[data-exercise]");
const tries = document.querySelectorAll(".nc-try[data-try]");

async function cells() {
  const { available, reason } = await import("./python.js");
  const { ExerciseCell, foldOtherWays, watchCard } = await import("./exercise.js");
  for (const card of cards) {
    watchCard(card);
    if (!available || card.dataset.runtime !== "numpy") continue;
    foldOtherWays(card);
    new ExerciseCell(card);
  }
  if (!available) {
    console.info(`Cells do not run in this build of the book: ${reason}`);
    return;
  }
  const { TryCell } = await import("./cell.js");
  for (const element of tries) new TryCell(element);
}

if (cards.length || tries.length) cells();
