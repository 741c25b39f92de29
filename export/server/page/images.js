// Files -> upright JPEG photos of a bounded size, and masks; PNG answers -> arrays.

import { VOID } from "./layer.js";

export const LONGEST = 1600; // px of the longer side of what is sent

// The browser applies EXIF's rotation when it draws; the server does not.
export async function readPhoto(file) {
  const bitmap = await decoded(file);
  const original = { width: bitmap.width, height: bitmap.height };
  const scale = Math.min(1, LONGEST / Math.max(original.width, original.height));
  const width = Math.max(1, Math.round(original.width * scale));
  const height = Math.max(1, Math.round(original.height * scale));
  const canvas = drawn(bitmap, width, height, { background: "#fff" });
  bitmap.close();
  const blob = await fileOf(canvas, "image/jpeg", 0.93);
  const url = URL.createObjectURL(blob);
  return { name: file.name, file, original, width, height, blob, url };
}

async function decoded(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name}: this browser cannot read it as a photo. ` +
      "Save it as JPEG or PNG, then choose it again.");
  }
}

export function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

function drawn(image, width, height, { background, smooth = true } = {}) {
  const canvas = newCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (background) {
    context.fillStyle = background;
    context.fillRect(0, 0, width, height);
  }
  context.imageSmoothingEnabled = smooth;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return canvas;
}

export function fileOf(canvas, type, quality) {
  return new Promise((resolve, reject) => canvas.toBlob(
    (blob) => (blob ? resolve(blob) : reject(new Error("This browser has no memory left."))),
    type, quality));
}

// A mask file -> values of the photo's pixels, `value` on the object, VOID on void and 0
// elsewhere. The object is what is bright: masks of 0/1, 0/255 and in colours all work. Beside a
// 1, 255 is void, as everywhere in this project.
export async function readMask(file, photo, value) {
  const bitmap = await decoded(file);
  const { width, height } = bitmap;
  const { width: w, height: h } = photo.original;
  if (width !== w || height !== h) {
    bitmap.close();
    throw new Error(`${file.name}: expected a mask of the upright photo's size, ${w}x${h}, ` +
      `received ${width}x${height}.`);
  }
  const brightness = brightest(bitmap, photo.width, photo.height);
  const present = new Set(brightness);
  const hasVoid = present.has(1) && [...present].every((one) => [0, 1, VOID].includes(one));
  const half = (hasVoid ? 1 : Math.max(...present)) / 2;
  return brightness.map((one) => (hasVoid && one > 1 ? VOID : one > half ? value : 0));
}

// A file of labels -> values of the photo's pixels.
export async function readLabels(blob, photo) {
  return brightest(await createImageBitmap(blob), photo.width, photo.height);
}

// The brightest channel of each pixel, the nearest where the size is another.
function brightest(bitmap, width, height) {
  const canvas = drawn(bitmap, width, height, { background: "#000", smooth: false });
  bitmap.close();
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const values = new Uint8Array(data.length / 4);
  for (let i = 0; i < values.length; i++) {
    values[i] = Math.max(data[4 * i], data[4 * i + 1], data[4 * i + 2]);
  }
  return values;
}

// Grey PNG -> its values at the size asked for, as numbers 0..255.
export async function readLevels(blob, width, height) {
  const bitmap = await createImageBitmap(blob);
  const canvas = drawn(bitmap, width, height);
  bitmap.close();
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const levels = new Uint8Array(width * height);
  for (let i = 0; i < levels.length; i++) levels[i] = data[4 * i];
  return levels;
}

// Values 0..255 -> grey PNG.
export function greyFile(values, width, height) {
  const canvas = newCanvas(width, height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < values.length; i++) {
    image.data.fill(values[i], 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return fileOf(canvas, "image/png");
}
