// Probabilities of a photo -> coloured overlay, and mask files at the photo's own size.

import { greyFile, readLevels } from "./images.js";

const SHOWN = 800; // px of the longer side of an overlay
const COLOURS = [
  [255, 122, 0], [0, 120, 215], [16, 150, 72], [214, 39, 120],
  [126, 87, 194], [0, 160, 160], [190, 150, 0], [140, 90, 60],
];

function colourOf(n) {
  return COLOURS[n % COLOURS.length];
}

// A mark in the colour of a class.
export function swatch(n) {
  const mark = document.createElement("span");
  mark.className = "swatch";
  mark.style.background = `rgb(${colourOf(n).join(" ")})`;
  return mark;
}

// `files`: a grey PNG of each class, 255 where it is certain.
export async function result(photo, files, presence) {
  const scale = Math.min(1, SHOWN / Math.max(photo.width, photo.height));
  const width = Math.max(1, Math.round(photo.width * scale));
  const height = Math.max(1, Math.round(photo.height * scale));
  const levels = await Promise.all(files.map((file) => readLevels(file, width, height)));
  return { files, presence, levels, width, height };
}

// 0 is background, n the nth class: the most probable, where it is above the threshold.
function decided(levels, threshold) {
  const classes = new Uint8Array(levels[0].length);
  for (let i = 0; i < classes.length; i++) {
    let best = 255 * threshold;
    for (let n = 0; n < levels.length; n++) {
      if (levels[n][i] > best) {
        best = levels[n][i];
        classes[i] = n + 1;
      }
    }
  }
  return classes;
}

export function drawOverlay(canvas, found, threshold) {
  canvas.width = found.width;
  canvas.height = found.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(found.width, found.height);
  const classes = decided(found.levels, threshold);
  let covered = 0;
  for (let i = 0; i < classes.length; i++) {
    if (!classes[i]) continue;
    covered += 1;
    image.data.set([...colourOf(classes[i] - 1), 150], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return covered / classes.length;
}

// One thing: 0 and 255. Several classes, or a taught one: 0, 1, 2, ...
export async function maskFile(photo, found, threshold, isTaught) {
  const { width, height } = photo.original;
  const levels = [];
  for (const file of found.files) levels.push(await readLevels(file, width, height));
  const classes = decided(levels, threshold);
  return greyFile(isTaught ? classes : classes.map((value) => 255 * value), width, height);
}

export function maskName(photo) {
  return `${photo.name.replace(/\.[^.]*$/, "")}_mask.png`;
}
