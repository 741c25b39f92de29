// ZIP archives: written without compression (photos and PNG files are compressed already), read
// also with it.

const LOCAL = 0x04034b50, ENTRY = 0x02014b50, END = 0x06054b50;
const DEFLATED = 8;

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function checksum(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// Numbers of 2 or 4 bytes, the lowest byte first.
function packed(fields) {
  const bytes = [];
  for (const [value, size] of fields) {
    for (let n = 0; n < size; n++) bytes.push((value >>> (8 * n)) & 255);
  }
  return Uint8Array.from(bytes);
}

// `files`: [{ name, blob }], the names all different.
export async function zip(files) {
  const parts = [], directory = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const path = new TextEncoder().encode(name);
    // Version, names in UTF-8, stored, no time, 1 January 1980.
    const common = [[20, 2], [0x800, 2], [0, 2], [0, 2], [0x21, 2], [checksum(bytes), 4],
      [bytes.length, 4], [bytes.length, 4], [path.length, 2], [0, 2]];
    const local = packed([[LOCAL, 4], ...common]);
    directory.push(packed([[ENTRY, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4],
      [offset, 4]]), path);
    parts.push(local, path, blob);
    offset += local.length + path.length + bytes.length;
  }
  if (offset > 0xffffffff || files.length > 0xffff) {
    throw new Error("Expected less than 4 GB for a ZIP file. Save fewer photos at a time.");
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = files.length;
  const end = packed([[END, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4],
    [offset, 4], [0, 2]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

// The files of an archive, as `zip` takes them; folders are left out.
export async function unzip(blob) {
  try {
    return await listed(blob);
  } catch {
    throw new Error("Expected a ZIP file that this page saved, received another one.");
  }
}

async function listed(blob) {
  const view = new DataView(await blob.arrayBuffer());
  const files = [];
  let { count, place } = directoryOf(view);
  for (; count > 0; count--) {
    if (view.getUint32(place, true) !== ENTRY) throw new Error("no entry");
    const method = view.getUint16(place + 10, true), size = view.getUint32(place + 20, true);
    const [path, extra, comment] = [28, 30, 32].map((at) => view.getUint16(place + at, true));
    const name = new TextDecoder().decode(new Uint8Array(view.buffer, place + 46, path));
    const local = view.getUint32(place + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const content = blob.slice(start, start + size);
    if (!name.endsWith("/")) files.push({ name, blob: await unpacked(content, method) });
    place += 46 + path + extra + comment;
  }
  return files;
}

function directoryOf(view) {
  for (let at = view.byteLength - 22; at >= 0; at--) {
    if (view.getUint32(at, true) === END) {
      return { count: view.getUint16(at + 10, true), place: view.getUint32(at + 16, true) };
    }
  }
  throw new Error("no end");
}

function unpacked(content, method) {
  if (method !== DEFLATED) return content;
  const stream = content.stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).blob();
}
