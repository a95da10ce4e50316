// What a request may carry, as the server's own document says.

import { json } from "./server.js";

export const GENERATIONS = "v1/images/generations";
export const EDITS = "v1/images/edits";
export const VARIATIONS = "v1/images/variations";
let read = null;

/** The whole document; read once. */
export function openapi() {
  read ??= json("openapi.json").catch((error) => {
    read = null;
    throw error;
  });
  return read;
}

/** Each field's schema by its name, of what is posted to `path`, without other spellings. */
export async function fields(path = GENERATIONS) {
  const { requestBody } = (await openapi()).paths[`/${path}`].post;
  const { properties } = requestBody.content["application/json"].schema;
  return new Map(Object.entries(properties).filter(([, schema]) => !schema["x-alias-of"]));
}
