// The session: kept in the browser as it changes, saved to a ZIP file and loaded from one.

import { save } from "./files.js";
import { keep, packed, recordOf } from "./session.js";
import { element, names, page, report } from "./state.js";

const KEPT_AFTER = 500; // ms after the last change
const unkept = new Set(); // photos that changed
let timer = 0;

// Keeps the session before long, and what changed of these photos.
export function keepSoon(...photos) {
  for (const photo of photos) unkept.add(photo);
  delete document.body.dataset.kept;
  clearTimeout(timer);
  timer = setTimeout(() => keepNow().catch(report), KEPT_AFTER);
}

async function keepNow() {
  const records = {}, photos = [...unkept].filter((photo) => page.photos.includes(photo));
  unkept.clear();
  for (const photo of photos) records[photo.id] = await recordOf(photo);
  await keep({ ...described(), ids: page.photos.map(({ id }) => id) }, records);
  if (!unkept.size) document.body.dataset.kept = page.photos.length;
}

function described() {
  const values = ["threshold", "presence", "order"].map((id) => [id, element(id).value]);
  return { classes: names(), settings: Object.fromEntries(values) };
}

export async function saveSession() {
  const photos = [];
  for (const photo of page.photos) photos.push(await recordOf(photo));
  save(await packed({ ...described(), photos }), "session.zip");
}
