// What keys do in the editor.

const TOOLS = { b: "brush", e: "eraser", p: "polygon", s: "scribble", x: "beside", h: "hand" };

export function actionOf(editor, event) {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) return commandOf(editor, key, event.shiftKey);
  if (event.target.matches("input:not([type=range]), select")) return null;
  if (key in TOOLS) return () => editor.choose(TOOLS[key]);
  if (/^[1-9]$/.test(key)) return () => editor.page.choose(Number(key));
  const paints = event.target === editor.canvas;
  if (key.startsWith("arrow")) return paints && (() => editor.step(key.slice(5)));
  if (key === " ") return paints && (() => editor.dot());
  if (key === "enter") return paints && (() => editor.closePolygon());
  return {
    ",": () => editor.page.go(-1),
    pageup: () => editor.page.go(-1),
    ".": () => editor.page.go(1),
    pagedown: () => editor.page.go(1),
    "+": () => editor.view.zoom(1.5),
    "-": () => editor.view.zoom(1 / 1.5),
    0: () => editor.fit(),
    u: () => editor.page.decide(editor.photo, "example"),
    n: () => editor.page.decide(editor.photo, "negative"),
  }[key];
}

function commandOf(editor, key, shift) {
  if (key === "y" || (key === "z" && shift)) return () => editor.redo();
  return key === "z" ? () => editor.undo() : null;
}
