// "Find it": the examples are encoded once, then each photo is asked for.

import { newQuestion } from "./asking.js";
import { showCard } from "./cards.js";
import { keepSoon } from "./keeping.js";
import { attempt, model, names, page, progress, sliders } from "./state.js";

const TOGETHER = 2; // photos asked for at the same time

export async function find() {
  const others = page.photos.filter(({ role, layer }) => role !== "example" && !layer);
  if (!page.photos.some(({ role }) => role !== "example")) {
    throw new Error("Choose at least one photo to search first.");
  }
  const question = await asked();
  const waiting = others.filter(({ key }) => key !== question.key), count = waiting.length;
  const work = async () => {
    while (waiting.length) {
      const photo = waiting.shift();
      progress(`Looking at photo ${count - waiting.length} of ${count} ...`);
      await attempt(() => answer(photo, question), photo.card.querySelector(".card-problem"));
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, work));
  page.show();
  const done = others.filter(({ key }) => key === question.key);
  progress(`Done: ${done.length} of ${others.length} photos.`);
}

// The question of now; as before, where neither examples nor model are others.
async function asked() {
  const { name, version } = model(), key = `${page.changes} ${name} ${version}`;
  if (page.question?.key !== key) {
    const question = await newQuestion(model(), names().length, page.photos, progress);
    page.question = Object.assign(question, { key });
  }
  return page.question;
}

async function answer(photo, question) {
  photo.found = await question.ask(photo);
  photo.key = question.key;
  showCard(photo, sliders());
  keepSoon(photo);
}
