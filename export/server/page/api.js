// Requests in TF Serving's format, and what went wrong in words.

let largest = Infinity; // bytes of a request

export async function overview() {
  const answer = await (await asked("models")).json();
  largest = answer.max_request_bytes;
  return answer;
}

export async function predict(model, signature, inputs) {
  // Of this version: a state of the examples means nothing to another one.
  const url = `v1/models/${encodeURIComponent(model.name)}/versions/${model.version}:predict`;
  return (await (await sent(url, { signature_name: signature, inputs })).json()).outputs;
}

// The mask that strokes stand for, or `mask` as they correct it: a PNG file.
export async function grow(photo, strokes, mask) {
  const asking = { photo: await base64(photo.blob), strokes: await base64(strokes) };
  if (mask) asking.mask = await base64(mask);
  return (await sent("grow", asking)).blob();
}

// A ZIP file of labels in other tools' formats.
export async function exported(asking) {
  return (await sent("export", asking)).blob();
}

function sent(url, content) {
  const body = JSON.stringify(content);
  if (body.length > largest) {
    throw new Error(`These photos make a request of ${megabytes(body.length)} MB; the server ` +
      `takes ${megabytes(largest)} MB. Use fewer photos at a time.`);
  }
  return asked(url, { method: "POST", body });
}

function megabytes(bytes) {
  return (bytes / 2 ** 20).toFixed(1);
}

async function asked(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Error("The server cannot be reached. Is it still running?");
  }
  if (response.ok) return response;
  // Without JSON it is not of our handlers; the status says enough.
  const { error } = await response.json().catch(() => ({}));
  throw new Error(explained(response.status, error));
}

function explained(status, error) {
  const text = error || `The server answered ${status}.`;
  if (status === 404) return `${text} Press "Find it" again: another version serves by now.`;
  return status === 503 || status === 429 ? `${text} Wait a moment, then try again.` : text;
}

export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const parts = [];
  for (let start = 0; start < bytes.length; start += 0x8000) {
    parts.push(String.fromCharCode(...bytes.subarray(start, start + 0x8000)));
  }
  return { b64: btoa(parts.join("")) };
}

export function pngOf({ b64 }) {
  const bytes = Uint8Array.from(atob(b64), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}
