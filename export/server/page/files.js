// Files that are chosen or dropped, and files that are saved.

// Calls `read` with the files that an input is given, or that are dropped around it.
export function onFiles(input, read) {
  const drop = input.closest(".drop");
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // the same file again is a change again
    read(files);
  });
  if (!drop) return;
  for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragenter" || name === "dragover");
      if (name === "drop") read([...event.dataTransfer.files]);
    });
  }
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the download has begun by then
}

// A file's name, with a number where one of `names` has the same but for its suffix.
export function unusedName(name, names) {
  const stemOf = (one) => one.replace(/\.[^.]*$/, "").toLowerCase();
  const taken = new Set(names.map(stemOf));
  const [, stem, suffix] = name.match(/^(.*?)(\.[^.]*)?$/);
  let unused = name;
  for (let n = 2; taken.has(stemOf(unused)); n++) unused = `${stem}-${n}${suffix ?? ""}`;
  return unused;
}
