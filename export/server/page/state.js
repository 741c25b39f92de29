// What is on the page. Other modules change it, then call `page.show()`.

import { isTaught } from "./asking.js";
import { ordered } from "./cards.js";

export const element = (id) => document.getElementById(id);

// A photo has a `role`: "example", "negative" (it shows none), or null. Its `layer` is what was
// painted, `found` what the server answered, `key` to which question.
export const page = {
  photos: [],
  classes: ["thing"],
  known: [], // models that this page can use
  question: null, // that the server was asked, with its `key`
  changes: 0, // of the examples
  show: () => {}, // everything anew; set by main.js
};

export function model() {
  return page.known[element("model").selectedIndex];
}

export function names() {
  return model() && isTaught(model()) ? model().description.class_names : page.classes;
}

// What the sliders say: `threshold` of pixels, and the `least` presence of a class that is there.
export function sliders() {
  const [threshold, least] = ["threshold", "presence"].map((id) => Number(element(id).value));
  return { threshold, least, classes: names() };
}

// The examples, and the other photos in the order chosen.
export function listed() {
  const examples = page.photos.filter(({ role }) => role === "example");
  const others = page.photos.filter(({ role }) => role !== "example");
  return [examples, ordered(others, element("order").value, sliders().least)];
}

// === Messages ===

export function progress(text) {
  element("progress").textContent = text;
}

function tell(node, error) {
  node.textContent = error ? error.message : "";
  node.hidden = !error;
}

// Says what went wrong without the user's doing.
export function report(error) {
  tell(element("problem"), error);
}

// Runs an action of the user; what goes wrong is shown, not thrown.
export async function attempt(action, node = element("problem")) {
  tell(node, null);
  try {
    await action();
  } catch (error) {
    tell(node, error);
  }
}
