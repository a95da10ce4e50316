// Takes a path and a body, gives the server's answer; what it refuses is thrown in OpenAI's words.

const KEPT = "sdxl-gateway.key";
// Relative to this file, so that a prefix before the page is before all that it calls.
const ROOT = new URL("../", import.meta.url);

export const address = (path) => new URL(path, ROOT).href;

/** The window hears of an event `key` when it is another one. */
export const key = {
  get: () => sessionStorage.getItem(KEPT) ?? "",
  keep(text) {
    sessionStorage.setItem(KEPT, text);
    dispatchEvent(new Event("key"));
  },
  forget() {
    sessionStorage.removeItem(KEPT);
    dispatchEvent(new Event("key"));
  },
};

/**
 * An answer that is none: `status` is 0 where the server was not reached; `param` names the field it is about, `stage`
 * says where a judge found something: in the "input" or the "output".
 */
export class Refused extends Error {
  constructor(status, { message, param = null, code = null, moderation_details: judged } = {}) {
    super(message ?? `The server answered ${status}.`);
    Object.assign(this, { status, param, code, stage: judged?.moderation_stage ?? null });
  }
}

/**
 * The answer to a GET, or to a POST where there is a body: a form, or what becomes JSON. Throws Refused, and AbortError
 * where `signal` said so.
 */
export async function call(path, { body, method = body ? "POST" : "GET", signal } = {}) {
  const answer = await sent(path, method, body, signal);
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, told.error);
  }
  return answer;
}

/** What says who asks. */
export const credentials = () => (key.get() ? { authorization: `Bearer ${key.get()}` } : {});

async function sent(path, method, body, signal) {
  const headers = credentials();
  const form = body instanceof FormData;
  if (body && !form) headers["content-type"] = "application/json";
  try {
    return await fetch(address(path), { method, body: form ? body : JSON.stringify(body), headers, signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : unreached();
  }
}

const unreached = () => new Refused(0, { message: "The server cannot be reached." });

/** A module that is being imported, which is the server's to give. Throws Refused. */
export const loaded = (module) =>
  module.catch(() => {
    throw unreached();
  });

export const json = async (path) => (await call(path)).json();

/** A model's or a LoRA's name as a part of a path: its slashes are part of the name. */
export const inPath = (name) => name.split("/").map(encodeURIComponent).join("/");
