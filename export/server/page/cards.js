// The photos of the page as two lists of cards: examples, and those that are searched.

import { drawValues, swatch } from "./colours.js";
import { decided } from "./results.js";

// A card for a photo. `actions`: { selector of a button: what it does }.
export function newCard(photo, actions) {
  const template = document.getElementById("card");
  const card = template.content.firstElementChild.cloneNode(true);
  card.querySelector("img").src = photo.url;
  card.querySelector("img").alt = photo.name;
  card.querySelector(".name").textContent =
    `${photo.name}, ${photo.original.width}x${photo.original.height}`;
  for (const [selector, action] of Object.entries(actions)) {
    card.querySelector(selector).addEventListener("click", action);
  }
  return card;
}

// What a card says of its photo: role, mask, scores.
export function showCard({ card, role, layer, found, name }, { classes, threshold, least }) {
  const overlay = card.querySelector(".overlay");
  const [values, width, height] = layer ? [layer.values, layer.width, layer.height]
    : found && role !== "negative" ? [decided(found, threshold, least), found.width, found.height]
      : [new Uint8Array(1), 1, 1];
  drawValues(overlay, values, width, height);
  const covered = values.reduce((sum, value) => sum + Boolean(value), 0) / values.length;
  const percent = `${(100 * covered).toFixed(1)} % of the photo`;
  overlay.setAttribute("aria-label", `Mask of ${name}: ${percent}`);
  const scores = found ? found.presence.map((score, n) => scoreOf(score, n, classes, least)) : [];
  const said = { negative: "shows none · ", example: "example · " }[role] ?? "";
  const painted = layer && role !== "example" ? "corrected · " : "";
  card.querySelector(".score").replaceChildren(
    said, painted, ...scores, layer || found ? percent : "");
  card.classList.toggle("negative", role === "negative");
  card.querySelector(".use").hidden = role === "example";
  card.querySelector(".none").hidden = role === "negative";
  card.querySelector(".unuse").hidden = !role;
  card.querySelector(".download").disabled = !layer && !found;
}

function scoreOf(score, n, classes, least) {
  const item = document.createElement("span");
  const absent = score >= least ? "" : " (not there)";
  const said = score < -0.99 ? "not asked" : `${score.toFixed(2)}${absent}`;
  item.append(swatch(n + 1), `${classes.length > 1 ? classes[n] : "presence"} ${said} `);
  return item;
}

// The order in which photos are listed: those first of which it is least sure whether they show
// something, or the surest, or as they came.
export function ordered(photos, order, least) {
  if (order === "added") return photos;
  const surest = ({ found }) => Math.max(...found.presence);
  const margin = ({ found }) => Math.min(...found.presence.map((one) => Math.abs(one - least)));
  const rank = order === "doubtful" ? margin : (photo) => -surest(photo);
  const asked = photos.filter(({ found }) => found);
  const others = photos.filter(({ found }) => !found);
  return [...asked.sort((a, b) => rank(a) - rank(b)), ...others];
}
