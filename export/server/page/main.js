// The page: which model, the examples, the photos, and what was found in them.

import { base64, models, pngOf, predict } from "./api.js";
import { LONGEST, readPhoto } from "./images.js";
import { Painter } from "./painter.js";
import { drawOverlay, maskFile, maskName, result, swatch } from "./results.js";
import { zip } from "./zip.js";

const TOGETHER = 2; // photos asked for at the same time
const element = (id) => document.getElementById(id);
const supports = []; // { photo, painter }
const queries = []; // { photo, card, found, model }
let known = []; // models that this page can use
let state = null; // { key, value }: the examples, encoded once
let changes = 0; // of the examples

// === Messages ===

function show(node, error) {
  node.textContent = error ? error.message : "";
  node.hidden = !error;
}

// Runs an action of the user; what goes wrong is shown, not thrown.
async function attempt(action, node = element("problem")) {
  show(node, null);
  try {
    await action();
  } catch (error) {
    show(node, error);
  }
}

function progress(text) {
  element("progress").textContent = text;
}

// === Models ===

function isTaught(model) {
  return model.description.kind === "taught";
}

function model() {
  return known[element("model").selectedIndex];
}

async function refreshModels() {
  const all = await models();
  const before = model();
  known = all.filter((one) => isTaught(one) || one.signatures.includes("encode_support_encoded"));
  if (!known.length) {
    throw new Error("The server has no model for this page yet. Reload the page in a moment.");
  }
  const options = known.map((one) => new Option(`${one.name}, version ${one.version}`));
  element("model").replaceChildren(...options);
  const place = known.findIndex((one) => one.name === before?.name);
  element("model").selectedIndex = Math.max(0, place);
  if (place < 0 || model().version !== before.version) showModel();
}

function showModel() {
  const taught = isTaught(model());
  element("support-step").hidden = taught;
  const { class_names: names = [] } = model().description;
  element("about").textContent = (taught ? `This model knows: ${names.join(", ")}. ` : "") +
    `Photos larger than ${LONGEST} px are shrunk before they are sent.`;
  element("threshold").value = model().description.settings?.threshold ?? 0.5;
  showThreshold();
  element("legend").hidden = !taught;
  element("legend").replaceChildren(...names.map((name, n) => {
    const item = document.createElement("li");
    item.append(swatch(n), `${name} (${n + 1} in the mask file)`);
    return item;
  }));
}

// === Photos on the page ===

function newCard(template, list, photo) {
  const card = element(template).content.firstElementChild.cloneNode(true);
  card.querySelector("img").src = photo.url;
  card.querySelector("img").alt = photo.name;
  card.querySelector(".name").textContent =
    `${photo.name}, ${photo.original.width}x${photo.original.height}`;
  element(list).append(card);
  return card;
}

function remove(list, entry) {
  list.splice(list.indexOf(entry), 1);
  URL.revokeObjectURL(entry.photo.url);
  entry.card.remove();
  if (list === supports) changes += 1;
  showButtons();
}

function showButtons() {
  element("remove-all").disabled = !queries.length;
  element("download-all").disabled = !queries.some((query) => query.found);
}

function addSupport(photo) {
  const card = newCard("support-card", "supports", photo);
  const problem = card.querySelector(".card-problem");
  const painter = new Painter(card, photo, () => { changes += 1; });
  const entry = { photo, card, painter };
  supports.push(entry);
  const click = (name, action) =>
    card.querySelector(name).addEventListener("click", () => attempt(action, problem));
  const choose = (erases) => {
    painter.erases = erases;
    card.querySelector(".brush").setAttribute("aria-pressed", String(!erases));
    card.querySelector(".eraser").setAttribute("aria-pressed", String(erases));
  };
  click(".brush", () => choose(false));
  click(".eraser", () => choose(true));
  click(".undo", () => painter.undo());
  click(".clear", () => painter.clear());
  click(".remove", () => remove(supports, entry));
  card.querySelector(".mask-file").addEventListener("change", (event) => attempt(async () => {
    const [file] = event.target.files;
    event.target.value = ""; // the same file again is a change again
    if (file) await painter.upload(file);
  }, problem));
  changes += 1;
}

function addQuery(photo) {
  const card = newCard("query-card", "queries", photo);
  const entry = { photo, card, found: null, model: null };
  queries.push(entry);
  const problem = card.querySelector(".card-problem");
  card.querySelector(".remove").addEventListener("click", () => remove(queries, entry));
  card.querySelector(".download").addEventListener("click", () => attempt(async () => {
    save(await fileOfMask(entry), maskName(photo));
  }, problem));
  showButtons();
}

function listen(input, add) {
  const drop = input.closest(".drop");
  const read = (files) => attempt(async () => {
    const failures = [];
    for (const file of files) {
      progress(`Reading ${file.name} ...`);
      await readPhoto(file).then(add, (error) => failures.push(error.message));
    }
    progress("");
    if (failures.length) throw new Error(failures.join(" "));
  });
  input.addEventListener("change", async () => {
    const files = [...input.files];
    input.value = "";
    await read(files);
  });
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragenter" || name === "dragover");
      if (name === "drop") read([...event.dataTransfer.files]);
    });
  }
}

// === Asking ===

// Encodes the examples, unless they and the model are as they were.
async function encodedSupports(model) {
  const key = `${changes} ${model.name} ${model.version}`;
  if (state?.key === key) return state.value;
  if (!supports.length) throw new Error("Choose at least one example photo first.");
  const images = [], masks = [];
  for (const { photo, painter } of supports) {
    const mask = await painter.file();
    if (!mask) throw new Error(`${photo.name}: paint over the thing, or upload its mask, first.`);
    images.push(await base64(photo.blob));
    masks.push(await base64(mask));
  }
  progress("Looking at the examples ...");
  const value = await predict(model, "encode_support_encoded", {
    support_image_bytes: images, support_mask_bytes: masks,
  });
  state = { key, value };
  return value;
}

async function ask(query, model, shared) {
  const file = [await base64(query.photo.blob)];
  const [signature, input] = isTaught(model)
    ? ["segment_encoded", "image_bytes"]
    : ["segment_encoded_with_support", "query_image_bytes"];
  const answer = await predict(model, signature, { [input]: file, ...shared });
  const files = [answer.probability_png_bytes[0]].flat().map(pngOf);
  query.found = await result(query.photo, files, [answer.presence[0]].flat());
  query.model = model;
  showFound(query);
}

async function find() {
  if (!queries.length) throw new Error("Choose at least one photo to search first.");
  await refreshModels();
  const asked = model(), waiting = [...queries];
  const shared = isTaught(asked) ? {} : await encodedSupports(asked);
  let done = 0;
  const work = async () => {
    while (waiting.length) {
      const query = waiting.shift();
      progress(`Looking at photo ${Math.min(done + 1, queries.length)} of ${queries.length} ...`);
      await attempt(() => ask(query, asked, shared), query.card.querySelector(".card-problem"));
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, work));
  const found = queries.filter((query) => query.found).length;
  progress(`Done: ${found} of ${queries.length} photos.`);
}

// === What was found ===

function threshold() {
  return Number(element("threshold").value);
}

function showThreshold() {
  element("threshold-value").textContent = threshold().toFixed(2);
  for (const query of queries.filter((one) => one.found)) showFound(query);
}

function showFound({ card, found, model, photo }) {
  const overlay = card.querySelector(".overlay");
  const covered = drawOverlay(overlay, found, threshold());
  overlay.setAttribute("aria-label", `Mask of ${photo.name}: ${(100 * covered).toFixed(0)} %`);
  const scores = found.presence.map((score, n) => {
    const item = document.createElement("span");
    const name = isTaught(model) ? model.description.class_names[n] : "presence";
    item.append(swatch(n), `${name} ${score.toFixed(2)} `);
    return item;
  });
  card.querySelector(".score").replaceChildren(
    ...scores, `· ${(100 * covered).toFixed(1)} % of the photo`);
  card.querySelector(".download").disabled = false;
  showButtons();
}

function fileOfMask({ photo, found, model }) {
  return maskFile(photo, found, threshold(), isTaught(model));
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the download has begun by then
}

async function saveAll() {
  const files = [], names = new Set();
  for (const query of queries.filter((one) => one.found)) {
    let name = maskName(query.photo);
    for (let n = 2; names.has(name); n++) name = maskName(query.photo).replace("_mask", `_${n}_mask`);
    names.add(name);
    files.push({ name, blob: await fileOfMask(query) });
  }
  save(await zip(files), "masks.zip");
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

listen(element("support-files"), addSupport);
listen(element("query-files"), addQuery);
onClick("find", find);
onClick("download-all", saveAll);
element("remove-all").addEventListener("click", () => {
  for (const query of [...queries]) remove(queries, query);
  progress("");
});
element("model").addEventListener("change", showModel);
element("threshold").addEventListener("input", showThreshold);
for (const name of ["dragover", "drop"]) { // beside the fields, a file would replace the page
  addEventListener(name, (event) => event.preventDefault());
}
attempt(refreshModels);
