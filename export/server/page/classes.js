// The names of the classes: fields on the page, buttons in the editor.

import { swatch } from "./colours.js";

const MOST = 9; // each has a key

// Fields to rename classes; `names` is changed in place. `last`: a function that says why the
// last class has to stay, or nothing.
export function showFields(list, names, { changed, last }) {
  list.replaceChildren(...names.map((name, n) => {
    const item = document.createElement("li");
    const field = Object.assign(document.createElement("input"), { value: name, maxLength: 100 });
    field.setAttribute("aria-label", `Name of class ${n + 1}`);
    field.addEventListener("change", () => {
      names[n] = unused(field.value.trim() || name, names.toSpliced(n, 1));
      changed();
    });
    item.append(swatch(n + 1), field);
    if (n && n === names.length - 1) item.append(button("Remove class", () => last(names)));
    return item;
  }));
}

export function addTo(names) {
  if (names.length >= MOST) throw new Error(`Expected at most ${MOST} classes on this page.`);
  names.push(unused(`thing ${names.length + 1}`, names));
}

// Buttons of the editor, one a class; `choose` is called with its value.
export function showPalette(list, names, value, choose) {
  list.replaceChildren(...names.map((name, n) => {
    const one = button(name, () => choose(n + 1));
    one.prepend(swatch(n + 1));
    one.title = `Key ${n + 1}`;
    one.setAttribute("aria-pressed", String(n + 1 === value));
    return one;
  }));
}

function unused(name, names) {
  let free = name;
  for (let n = 2; names.some((one) => one.toLowerCase() === free.toLowerCase()); n++) {
    free = `${name} ${n}`;
  }
  return free;
}

function button(text, action) {
  const made = Object.assign(document.createElement("button"), { type: "button" });
  made.append(text);
  made.addEventListener("click", action);
  return made;
}
