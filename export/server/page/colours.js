// The colours of classes: 1, 2, ...; void is grey.

import { VOID } from "./layer.js";

const COLOURS = [
  [255, 122, 0], [0, 120, 215], [16, 150, 72], [214, 39, 120],
  [126, 87, 194], [0, 160, 160], [190, 150, 0], [140, 90, 60],
];

export function colourOf(value) {
  return value === VOID ? [90, 90, 90] : COLOURS[(value - 1) % COLOURS.length];
}

// A mark in the colour of a class.
export function swatch(value) {
  const mark = document.createElement("span");
  mark.className = "swatch";
  mark.style.background = `rgb(${colourOf(value).join(" ")})`;
  return mark;
}

// Each value as a pixel of a canvas; computers that browsers run on keep the lowest byte first.
const PIXELS = Uint32Array.from({ length: 256 }, (_, value) => {
  if (!value) return 0;
  const [red, green, blue] = colourOf(value);
  return ((150 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
});

// Draws values of pixels over a photo; nothing where they are 0.
export function drawValues(canvas, values, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < values.length; i++) pixels[i] = PIXELS[values[i]];
  context.putImageData(image, 0, 0);
}
