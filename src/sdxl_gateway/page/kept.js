// The pictures painted on this page, kept in the browser's own database; as many as fit, the oldest go first.

const DATABASE = "sdxl-gateway";
const STORE = "pictures";
const SWITCH = "sdxl-gateway.history";
export const MOST_PICTURES = 200;
export const MOST_BYTES = 256 * 2 ** 20;

let opened = null;

/** Whether what is painted is kept at all. */
export const keeping = {
  get: () => localStorage.getItem(SWITCH) !== "off",
  set: (yes) => localStorage.setItem(SWITCH, yes ? "on" : "off"),
};

/**
 * Keeps a picture (a Blob), what was sent for it (`body`: JSON's, or a form with the pictures it was made from) and what
 * the server `told` with it. Throws where the browser's disk is full.
 */
export async function keep({ picture, body, told }) {
  if (!keeping.get()) return;
  const { request, inputs } = taken(body);
  const bytes = [picture, ...inputs.map(([, blob]) => blob)].reduce((sum, blob) => sum + blob.size, 0);
  await changed((store) => store.add({ at: Date.now(), picture, request, inputs, told, bytes }));
  await makeRoom();
}

/** A form's texts by their names, and its files beside them. */
function taken(body) {
  if (!(body instanceof FormData)) return { request: body, inputs: [] };
  const entries = [...body.entries()];
  const isFile = ([, value]) => value instanceof Blob;
  return { request: Object.fromEntries(entries.filter((one) => !isFile(one))), inputs: entries.filter(isFile) };
}

/** All that is kept, the latest first: each with its `id`, `at` in milliseconds since 1970 and `bytes`. */
export const kept = async () => (await result((await stored("readonly")).getAll())).reverse();

export const forget = (id) => changed((store) => store.delete(id));

export const clear = () => changed((store) => store.clear());

async function makeRoom() {
  let bytes = 0;
  for (const [place, one] of (await kept()).entries()) {
    bytes += one.bytes;
    if (place >= MOST_PICTURES || bytes > MOST_BYTES) await forget(one.id);
  }
}

async function changed(change) {
  const store = await stored("readwrite");
  change(store);
  await new Promise((done, failed) => {
    store.transaction.oncomplete = done;
    store.transaction.onabort = () => failed(store.transaction.error);
  });
}

async function stored(mode) {
  opened ??= open();
  return (await opened).transaction(STORE, mode).objectStore(STORE);
}

async function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
  const database = await result(request);
  // Another tab may come to hold a newer version of the page.
  database.onversionchange = () => database.close();
  return database;
}

const result = (request) =>
  new Promise((done, failed) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
