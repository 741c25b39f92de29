// What is on the page, kept in the browser, and as a ZIP file.
//
//     session.json       names of the classes; photos in order, their roles, what was found
//     photos/a.jpg       as it was given
//     labels/a.jpg.png   what was painted on it: 0, 1 .. N, 255 void
//     found/1/a.jpg.png  the probability of class 1

import { greyFile, readLabels, readPhoto } from "./images.js";
import { Layer } from "./layer.js";
import { result } from "./results.js";
import { unzip, zip } from "./zip.js";

// === What is kept of a photo ===

export async function recordOf({ name, file, role, layer, found, original }) {
  const labels = layer && await greyFile(
    layer.resized(original.width, original.height), original.width, original.height);
  return { name, file, role, labels, found: found?.files ?? [], presence: found?.presence ?? [] };
}

export async function photoOf({ name, file, role, labels, found, presence }) {
  const photo = await readPhoto(new File([file], name, { type: file.type }));
  photo.role = role;
  if (labels) photo.layer = new Layer(photo.width, photo.height, await readLabels(labels, photo));
  photo.corrected = Boolean(labels);
  if (found.length) photo.found = await result(photo, found, presence);
  return photo;
}

// === In the browser: "page" is { classes, settings, ids }, an id is a photo's record ===

const DATABASE = "crnet", STORE = "session", PAGE = "page";

function database() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

// Does in one transaction, all or nothing, what `action` asks of the store.
async function transact(mode, action) {
  const opened = await database();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = opened.transaction(STORE, mode);
      const asking = action(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(asking?.result);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    opened.close();
  }
}

// Keeps the page and the records ({ id: record }) that changed; forgets photos that are gone.
export function keep(page, records) {
  return transact("readwrite", (store) => {
    store.put(page, PAGE);
    for (const [id, record] of Object.entries(records)) store.put(record, id);
    store.getAllKeys().onsuccess = ({ target }) => {
      const known = new Set([PAGE, ...page.ids]);
      for (const key of target.result) if (!known.has(key)) store.delete(key);
    };
  });
}

// What was kept, as `unpacked` gives it; null where nothing was.
export async function kept() {
  const page = await transact("readonly", (store) => store.get(PAGE));
  if (!page) return null;
  const { classes, settings, ids } = page;
  const photos = await Promise.all(
    ids.map((id) => transact("readonly", (store) => store.get(id))));
  return { classes, settings, photos };
}

// === As a ZIP file ===

export async function packed({ classes, photos, settings }) {
  const listed = photos.map(({ name, role, labels, found, presence }) =>
    ({ name, role, labelled: Boolean(labels), found: found.map(Boolean), presence }));
  const content = { version: 1, classes, settings, photos: listed };
  const files = [{ name: "session.json", blob: new Blob([JSON.stringify(content, null, 1)]) }];
  for (const { name, file, labels, found } of photos) {
    files.push({ name: `photos/${name}`, blob: file });
    if (labels) files.push({ name: labelsOf(name), blob: labels });
    found.forEach((blob, n) => blob && files.push({ name: foundOf(name, n), blob }));
  }
  return zip(files);
}

export async function unpacked(archive) {
  const files = new Map((await unzip(archive)).map(({ name, blob }) => [name, blob]));
  const text = await files.get("session.json")?.text();
  if (!text) throw new Error("Expected a session that this page saved, received another ZIP file.");
  const { classes, settings, photos } = JSON.parse(text);
  return {
    classes, settings,
    photos: photos.map(({ name, role, labelled, found, presence }) => ({
      name, role, presence,
      file: files.get(`photos/${name}`),
      labels: labelled ? files.get(labelsOf(name)) : null,
      found: found.map((is, n) => (is ? files.get(foundOf(name, n)) : null)),
    })),
  };
}

function labelsOf(name) {
  return `labels/${name}.png`;
}

function foundOf(name, n) {
  return `found/${n + 1}/${name}.png`;
}
