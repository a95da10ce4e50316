// A form for what is known about a LoRA or a checkpoint beside its weights: a field for each word a side-car may say.

import { button, make, prose } from "./dom.js";
import { fields } from "./schema.js";
import { call } from "./server.js";

let made = 0;

/**
 * `card` as the server tells it; what was changed is posted to `path`, which is `template` in the server's document,
 * and `done(card)` hears what it is now.
 */
export async function sidecarForm(card, path, template, page, done) {
  const rows = [...(await fields(template))].map(([name, schema]) => rowOf(name, schema, card));
  const form = make("form", { className: "sidecar", noValidate: true, ariaLabel: `What is known about ${card.id}` },
    ...rows.map(({ element }) => element),
    make("p", { className: "hint", textContent: "An empty field is left to the file, and to whoever asks." }),
    make("p", { className: "error", role: "alert", hidden: true }),
    make("div", { className: "buttons" }, make("button", { type: "submit", textContent: "Save" }), button("Leave it", () => form.remove())));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    page.forgive(form);
    const body = Object.fromEntries(rows.filter((row) => row.changed()).map((row) => [row.name, row.value()]));
    try {
      await done(await (await call(path, { body })).json());
    } catch (error) {
      page.refuse(error, form);
    }
  });
  return form;
}

function rowOf(name, schema, card) {
  const id = `sidecar-${++made}`;
  const { control, write, read } = kindOf(schema);
  const said = card.side_car[name];
  const before = said === undefined ? "" : write(said);
  control.value = before;
  Object.assign(control, { id, placeholder: otherwise(name, card) });
  control.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  const element = make("div", { className: "field", "data-field": name },
    make("label", { htmlFor: id, textContent: name.replaceAll("_", " ") }),
    control,
    prose(schema.description ?? "", "hint", { id: `${id}-hint` }),
    make("p", { className: "error", id: `${id}-error`, hidden: true }));
  const value = () => (control.value.trim() === "" ? null : read(control.value));
  return { name, element, value, changed: () => control.value !== before };
}

/** What holds where the side-car says nothing. */
function otherwise(name, card) {
  const held = card[name] ?? card.recommended[name] ?? "";
  return Array.isArray(held) ? held.join("\n") : String(held);
}

/** The control for such a value, how it is written there and read again. */
function kindOf({ type: [type], enum: choices, maxLength = 0, minimum, maximum }) {
  const as = (control, read, write = String) => ({ control, read, write });
  if (type === "array") return as(make("textarea", { rows: 3 }), linesOf, (words) => words.join("\n"));
  if (type === "boolean") return as(choice(["true", "false"]), (text) => text === "true");
  if (choices) return as(choice(choices.filter((one) => one !== null)), (text) => text);
  if (type === "string") return as(make(maxLength > 200 ? "textarea" : "input", { rows: 2 }), (text) => text);
  const step = type === "integer" ? 1 : "any";
  return as(make("input", { type: "number", min: minimum, max: maximum, step }), Number);
}

const choice = (choices) => make("select", {}, new Option("as the file is", ""), ...choices.map((one) => new Option(one)));
const linesOf = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
