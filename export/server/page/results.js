// What was found in a photo: how probable each class is, and how sure it is to be there.

import { greyFile, readLevels } from "./images.js";
import { Layer, VOID } from "./layer.js";

const SHOWN = 800; // px of the longer side of an overlay

// `files`: a grey PNG of each class, 255 where it is certain; null where it was not asked for.
// `presence`: of each class.
export async function result(photo, files, presence) {
  const scale = Math.min(1, SHOWN / Math.max(photo.width, photo.height));
  const width = Math.max(1, Math.round(photo.width * scale));
  const height = Math.max(1, Math.round(photo.height * scale));
  const levels = await levelsOf(files, width, height);
  return { files, presence, levels, width, height };
}

function levelsOf(files, width, height) {
  return Promise.all(files.map((file) => file && readLevels(file, width, height)));
}

const OWN = 0.2; // of fewshot/deciding.py

// The classes that are there, as fewshot/deciding.py decides it.
function thereOf({ levels, presence }, threshold, least) {
  const sure = [...levels.keys()].filter((n) => levels[n] && presence[n] >= least)
    .sort((a, b) => presence[b] - presence[a]);
  const area = levels.map(() => 0), own = levels.map(() => 0);
  for (let i = 0; i < (levels[sure[0]]?.length ?? 0); i++) {
    const found = sure.filter((n) => levels[n][i] > 255 * threshold);
    for (const n of found) area[n] += 1;
    if (found.length) own[found[0]] += 1;
  }
  return sure.filter((n) => own[n] >= OWN * area[n]);
}

// 0 is background, n the nth class: the most probable, where it is above the threshold, of those
// that are there.
export function decided(found, threshold, least, levels = found.levels) {
  const there = thereOf(found, threshold, least);
  const classes = new Uint8Array(levels.find(Boolean).length);
  for (let i = 0; i < classes.length; i++) {
    let best = 255 * threshold;
    for (const n of there) {
      if (levels[n][i] > best) {
        best = levels[n][i];
        classes[i] = n + 1;
      }
    }
  }
  return classes;
}

// The same in the photo's pixels, to be corrected.
export async function layerOf(photo, threshold, least) {
  const { width, height, found } = photo;
  const levels = await levelsOf(found.files, width, height);
  return new Layer(width, height, decided(found, threshold, least, levels));
}

// The values of all pixels of the photo as it was given.
async function labelsOf(photo, threshold, least) {
  const { width, height } = photo.original;
  if (photo.layer) return photo.layer.resized(width, height);
  if (!photo.found || photo.role === "negative") return new Uint8Array(width * height);
  return decided(photo.found, threshold, least, await levelsOf(photo.found.files, width, height));
}

// A grey PNG of these, the classes' numbers times `scale`.
export async function labelsFile(photo, threshold, least, scale = 1) {
  const { width, height } = photo.original;
  const labels = await labelsOf(photo, threshold, least);
  return greyFile(labels.map((value) => (value === VOID ? VOID : scale * value)), width, height);
}
