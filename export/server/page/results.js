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

// 0 is background, n the nth class: the most probable, where it is above the threshold, of those
// that are surer to be there than `least` of each says.
export function decided(found, threshold, least, levels = found.levels) {
  const there = [...levels.keys()].filter((n) => levels[n] && found.presence[n] > least[n]);
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
