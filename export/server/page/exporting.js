// Masks in other tools' formats: the server writes the labels, the page adds the photos.

import { base64, exported } from "./api.js";
import { save } from "./files.js";
import { labelsFile } from "./results.js";
import { element, page, sliders } from "./state.js";
import { unzip, zip } from "./zip.js";

const OF_OBJECTS = ["coco", "labelme", "labelstudio"]; // those that know shapes and objects

// Boxes to tick, those for which there is none yet.
export function showFormats(formats) {
  const shown = [...element("formats").querySelectorAll("input")].map(({ value }) => value);
  for (const format of formats.filter((one) => !shown.includes(one))) {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: format });
    const label = document.createElement("label");
    box.checked = format === formats[0];
    label.append(box, ` ${format}`);
    element("formats").append(label);
  }
}

export async function exportLabels() {
  const boxes = [...element("formats").querySelectorAll("input:checked")];
  const formats = boxes.map(({ value }) => value);
  const photos = page.photos.filter(({ layer, found, role }) => layer || found || role);
  if (!photos.length) throw new Error("Expected a photo with a mask. Paint one, or find some.");
  if (!formats.length) throw new Error("Choose at least one format.");
  const { threshold, least, classes } = sliders();
  const labelled = [];
  for (const photo of photos) {
    const labels = await base64(await labelsFile(photo, threshold, least));
    labelled.push({ name: photo.name, labels });
  }
  const knowObjects = formats.some((format) => OF_OBJECTS.includes(format));
  const archive = await exported({
    photos: labelled, class_names: classes, formats,
    shapes: knowObjects && element("shapes").checked ? "masks" : "polygons",
    instances: knowObjects && element("instances").checked,
  });
  save(await zip(filled(await unzip(archive), photos)), "labels.zip");
}

// An empty file of a photo's name stands for the photo.
function filled(files, photos) {
  const known = new Map(photos.map(({ name, file }) => [name, file]));
  return files.map(({ name, blob }) => {
    const photo = blob.size ? null : known.get(name.split("/").at(-1));
    return { name, blob: photo ?? blob };
  });
}
