// The page: what it shows, and what its controls do.
//
//   state.js     what is on the page           photos.js    added, painted, made examples
//   finding.js   "Find it"; asking.js, api.js: what the server is asked
//   editor.js    the photo that is painted on; layer.js: its values and undo; view.js: zoom;
//                keys.js, scribble.js, lines.js
//   results.js   answers as values of pixels   cards.js, classes.js, colours.js: what is shown
//   keeping.js   sessions; session.js: as records and ZIP files
//   film.js      frames of a film as photos
//   exporting.js masks in other tools' formats; files.js, images.js, zip.js: files

import { overview } from "./api.js";
import { isTaught } from "./asking.js";
import { showCard } from "./cards.js";
import { addTo, showFields } from "./classes.js";
import { exportLabels, showFormats } from "./exporting.js";
import { onFiles } from "./files.js";
import { find } from "./finding.js";
import { LONGEST } from "./images.js";
import { keepSoon, saveSession } from "./keeping.js";
import { addFiles, editor, put, remove, showClassesToPaint } from "./photos.js";
import { kept, photoOf, unpacked } from "./session.js";
import { attempt, element, listed, model, names, page, progress, sliders } from "./state.js";

// === Models ===

const PRESENCE = 0.4; // where the slider begins, `LEAST` of fewshot/deciding.py

async function refreshModels() {
  const { models, formats } = await overview();
  const before = model();
  showFormats(formats);
  page.known = models.filter(
    (one) => isTaught(one) || one.signatures.includes("encode_support_encoded"));
  if (!page.known.length) {
    throw new Error("The server has no model for this page yet. Reload the page in a moment.");
  }
  const options = page.known.map((one) => new Option(`${one.name}, version ${one.version}`));
  element("model").replaceChildren(...options);
  const place = page.known.findIndex((one) => one.name === before?.name);
  element("model").selectedIndex = Math.max(0, place);
  if (place < 0) showModel();
  else page.show();
}

// A model that was just chosen.
function showModel() {
  const taught = isTaught(model());
  element("support-step").hidden = taught;
  document.body.classList.toggle("taught", taught);
  element("about").textContent = (taught ? `This model knows: ${names().join(", ")}. ` : "") +
    `Photos larger than ${LONGEST} px are shrunk before they are sent.`;
  element("presence").value = model().description.least_presence ?? PRESENCE;
  element("threshold").value = model().description.settings?.threshold ?? 0.5;
  forgetAnswers();
}

// They are of another model, or of other classes.
function forgetAnswers() {
  page.changes += 1;
  page.question = null;
  for (const photo of page.photos) Object.assign(photo, { found: null, key: null });
  page.show();
}

// === Everything that is shown ===

page.show = () => {
  const [examples, others] = listed(), said = sliders();
  for (const photo of page.photos) showCard(photo, said);
  element("supports").replaceChildren(...examples.map(({ card }) => card));
  element("queries").replaceChildren(...others.map(({ card }) => card));
  element("remove-all").disabled = !others.length;
  element("threshold-value").textContent = said.threshold.toFixed(2);
  element("presence-value").textContent = said.least.toFixed(2);
  showFields(element("classes"), page.classes, { changed: reclassed, last: removeClass });
  showClassesToPaint();
};

// === Classes ===

function reclassed() {
  page.show();
  keepSoon();
}

function removeClass() {
  return attempt(() => {
    const last = page.classes.length;
    const holds = page.photos.find(({ layer }) => layer?.holds(last));
    if (holds) throw new Error(`${holds.name} shows ${page.classes.at(-1)}. Erase it there first.`);
    page.classes.pop();
    editor.value = Math.min(editor.value, page.classes.length);
    forgetAnswers();
    keepSoon();
  });
}

// === Sessions ===

async function load(session) {
  const photos = [];
  for (const record of session.photos) {
    progress(`Reading ${record.name} ...`);
    photos.push(await photoOf(record));
  }
  remove(page.photos);
  page.classes = session.classes;
  page.question = null;
  page.changes += 1;
  photos.forEach(put);
  for (const [id, value] of Object.entries(session.settings)) element(id).value = value;
  progress("");
  page.show();
  keepSoon(...photos);
}

// === Start ===

// A button that is busy until its action ends.
function onClick(id, action) {
  element(id).addEventListener("click", async () => {
    element(id).disabled = true;
    await attempt(action);
    if (!element("problem").hidden) progress("");
    element(id).disabled = false;
  });
}

async function start() {
  const before = await kept();
  await attempt(refreshModels);
  if (before) await load(before);
}

onFiles(element("support-files"), (files) => attempt(() => addFiles(files, "example")));
onFiles(element("query-files"), (files) => attempt(() => addFiles(files, null)));
onFiles(element("load-session"), ([file]) => attempt(async () => load(await unpacked(file))));
onClick("find", async () => {
  await refreshModels();
  await find();
});
onClick("export", exportLabels);
onClick("save-session", saveSession);
onClick("new-session", () => remove(page.photos));
onClick("add-class", () => {
  addTo(page.classes);
  forgetAnswers();
  keepSoon();
});
element("remove-all").addEventListener("click", () => remove(listed()[1]));
element("model").addEventListener("change", showModel);
for (const id of ["threshold", "presence", "order"]) {
  element(id).addEventListener("input", () => {
    page.show();
    keepSoon();
  });
}
for (const name of ["dragover", "drop"]) { // beside the fields, a file would replace the page
  addEventListener(name, (event) => event.preventDefault());
}
attempt(start);
