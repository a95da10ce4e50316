// What a request may carry, as the server's own document says.

import { json } from "./server.js";

let read = null;

/** Each field's schema by its name, without other spellings; read once. */
export function fields() {
  read ??= json("openapi.json").then(named, (error) => {
    read = null;
    throw error;
  });
  return read;
}

function named(document) {
  const { requestBody } = document.paths["/v1/images/generations"].post;
  const { properties } = requestBody.content["application/json"].schema;
  return new Map(Object.entries(properties).filter(([, schema]) => !schema["x-alias-of"]));
}
