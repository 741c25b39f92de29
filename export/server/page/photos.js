// What is done with photos: added, removed, painted, made examples.

import { newCard } from "./cards.js";
import { showPalette } from "./classes.js";
import { Editor } from "./editor.js";
import { save, unusedName } from "./files.js";
import { isFilm, pickFrames } from "./film.js";
import { readPhoto } from "./images.js";
import { keepSoon } from "./keeping.js";
import { Layer } from "./layer.js";
import { labelsFile, layerOf } from "./results.js";
import { attempt, element, listed, names, page, progress, sliders } from "./state.js";

// Puts a photo on the page.
export function put(photo) {
  const doing = (action) => () => attempt(action, photo.card.querySelector(".card-problem"));
  photo.id ??= `${Date.now()} ${Math.random()}`;
  photo.card = newCard(photo, {
    ".edit": doing(() => edit(photo)),
    ".use": doing(() => decide(photo, "example")),
    ".none": doing(() => decide(photo, "negative")),
    ".unuse": doing(() => decide(photo, null)),
    ".download": doing(() => download(photo)),
    ".remove": () => remove([photo]),
  });
  page.photos.push(photo);
}

export function remove(gone) {
  page.photos = page.photos.filter((photo) => !gone.includes(photo));
  for (const { url, role } of gone) {
    URL.revokeObjectURL(url);
    if (role) page.changes += 1;
  }
  page.show();
  keepSoon();
}

// Photos, and films, of which frames are picked first.
export async function addFiles(files, role) {
  const failures = [], added = [], waiting = [...files];
  while (waiting.length) {
    const file = waiting.shift();
    progress(`Reading ${file.name} ...`);
    try {
      if (isFilm(file)) {
        waiting.unshift(...(await pickFrames(file)));
        continue;
      }
      const photo = await readPhoto(file);
      photo.name = unusedName(file.name, page.photos.map(({ name }) => name));
      photo.role = role;
      if (role) photo.layer = new Layer(photo.width, photo.height);
      put(photo);
      added.push(photo);
    } catch (error) {
      failures.push(error.message);
    }
  }
  progress("");
  changed(...added);
  if (role && added.length === 1 && !failures.length) await edit(added[0]);
  if (failures.length) throw new Error(failures.join(" "));
}

// What was painted on photos, or decided of them, is another.
function changed(...photos) {
  if (photos.some(({ role }) => role)) page.changes += 1;
  page.show();
  keepSoon(...photos);
}

async function decide(photo, role) {
  if (role === "example") {
    if (!photo.layer && !photo.found) return edit(photo);
    photo.layer ??= await layerNow(photo);
    if (photo.layer.isEmpty && !photo.found) {
      throw new Error(`${photo.name}: paint over the thing first.`);
    }
    if (photo.layer.isEmpty) role = "negative"; // a correction that leaves nothing says so
  }
  if (role === "negative") photo.layer = null;
  if (photo.role) page.changes += 1;
  photo.role = role;
  changed(photo);
  if (editor.photo === photo) await go(1);
}

// === The editor ===

export const editor = new Editor(element("editor"), { painted, closed, go, choose, decide });

// Its card is shown anew when the editor is closed.
function painted(photo) {
  if (photo.role) page.changes += 1;
  if (photo.role === "negative") photo.role = null;
  keepSoon(photo);
}

// The class that is painted.
function choose(value) {
  if (value > names().length) return;
  editor.paint(value);
  showClassesToPaint();
}

export function showClassesToPaint() {
  showPalette(element("palette"), names(), editor.value, choose);
}

function layerNow(photo) {
  const { threshold, least } = sliders();
  return layerOf(photo, threshold, least);
}

async function edit(photo) {
  if (editor.photo) closed(editor.photo);
  const { found, role, width, height } = photo;
  photo.layer ??= found && role !== "negative" ? await layerNow(photo) : new Layer(width, height);
  editor.open(photo);
}

// An answer that was looked at and left as it is stays one, which the sliders change.
function closed(photo) {
  const leftAlone = photo.role !== "example" && !photo.corrected && !photo.layer?.done.length;
  if (leftAlone) photo.layer = null;
  photo.corrected = Boolean(photo.layer);
  page.show();
}

async function go(step) {
  const all = listed().flat();
  const next = all[all.indexOf(editor.photo) + step];
  if (next) await edit(next);
  else editor.close();
}

// === A single mask ===

// One thing: 0 and 255. Several classes: 0, 1, 2, ...
async function download(photo) {
  const { threshold, least, classes } = sliders();
  const file = await labelsFile(photo, threshold, least, classes.length > 1 ? 1 : 255);
  save(file, `${photo.name.replace(/\.[^.]*$/, "")}_mask.png`);
}
