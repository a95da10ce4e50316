// Takes a path and a body, gives the server's answer; what it refuses is thrown in OpenAI's words.

const KEPT = "sdxl-gateway.key";
// Relative to this file, so that a prefix before the page is before all that it calls.
const ROOT = new URL("../", import.meta.url);

export const address = (path) => new URL(path, ROOT).href;

export const key = {
  get: () => sessionStorage.getItem(KEPT) ?? "",
  keep: (text) => sessionStorage.setItem(KEPT, text),
  forget: () => sessionStorage.removeItem(KEPT),
};

/** An answer that is none: `status` is 0 where the server was not reached; `param` names the field it is about. */
export class Refused extends Error {
  constructor(status, { message, param = null, code = null } = {}) {
    super(message ?? `The server answered ${status}.`);
    Object.assign(this, { status, param, code });
  }
}

/** The answer to a GET, or to a POST where there is a body: a form, or what becomes JSON. Throws Refused, and AbortError where `signal` said so. */
export async function call(path, { body, signal } = {}) {
  const answer = await sent(path, body, signal);
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, told.error);
  }
  return answer;
}

async function sent(path, body, signal) {
  const headers = key.get() ? { authorization: `Bearer ${key.get()}` } : {};
  const form = body instanceof FormData;
  const post = body && { method: "POST", body: form ? body : JSON.stringify(body) };
  if (post && !form) headers["content-type"] = "application/json";
  try {
    return await fetch(address(path), { ...post, headers, signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refused(0, { message: "The server cannot be reached." });
  }
}

export const json = async (path) => (await call(path)).json();

/** A model's or a LoRA's name as a part of a path: its slashes are part of the name. */
export const inPath = (name) => name.split("/").map(encodeURIComponent).join("/");
