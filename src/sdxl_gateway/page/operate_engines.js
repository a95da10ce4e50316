// What each engine is, what it has on, and its device's memory as a picture with its legend.

import { make } from "./dom.js";
import { bytes, share } from "./said.js";
import { bar, swatch } from "./svg.js";

/** What the ledger calls it, what people call it, and how it looks; any other kind is a kind of models. */
const KINDS = {
  checkpoint: ["checkpoints", "checkpoints"],
  pristine: ["pristine copies", "pristine"],
  factors: ["LoRA factors", "factors"],
  dense: ["LoRA deltas", "deltas"],
};
const TIERS = { vram: "on the device", host: "in host memory", disk: "on disk" };
const LOST = "It is lost, and being started again: it holds nothing.";

export class Engines {
  element = make("section", { className: "engines", ariaLabel: "Engines" });
  #told = new Map();

  /** Only what changed is made anew. */
  show(engines, names) {
    const cards = engines.map((engine) => this.#card(engine, names));
    if (cards.some((card, place) => this.element.children[place] !== card)) this.element.replaceChildren(...cards);
  }

  #card(engine, names) {
    const told = JSON.stringify([engine, names]);
    const known = this.#told.get(engine.id);
    if (known?.told === told) return known.card;
    const card = cardOf(engine, names);
    this.#told.set(engine.id, { told, card });
    return card;
  }
}

function cardOf(engine, names) {
  const what = [engine.device, engine.card, engine.dtype].filter(Boolean).join(" · ");
  const title = make("h2", {}, `Engine ${engine.id} `, make("span", { className: `state ${engine.state}`, textContent: stateOf(engine) }));
  const parts = [make("p", { className: "hint", textContent: what || LOST }), ...memory(engine)];
  return make("article", { className: "card engine", "data-state": engine.state }, title, ...parts, has(engine, names));
}

const STATES = { ready: "✓ ready", held: "⏸ takes no steps", lost: "✗ lost, being started again" };
const stateOf = ({ state, held_for: reason }) => (reason ? `${STATES[state]}: ${reason}` : STATES[state]);

function memory({ device_memory: { by_kind: kinds, held_bytes: held, budget_bytes: budget, free_bytes: free }, device_used_bytes: used }) {
  if (!held && budget === null) return [];
  const parts = partsOf(kinds, free);
  const whole = budget ?? held;
  const limit = budget === null ? "nothing limits it" : `of ${bytes(budget)}`;
  const said = `Memory of the device: ${bytes(held)} held, ${limit}. ${parts.map(({ said }) => said).join("; ")}.`;
  const note = used ? [make("p", { className: "hint", textContent: `The process has ${bytes(used)} of the GPU.` })] : [];
  return [bar(parts, said), legend(parts, whole, `The ledger: ${bytes(held)} held, ${limit}`), ...note];
}

function partsOf(kinds, free) {
  const order = [...Object.keys(KINDS).filter((kind) => kind in kinds), ...Object.keys(kinds).filter((kind) => !(kind in KINDS))];
  const parts = order.map((kind) => ({ name: KINDS[kind]?.[0] ?? kind, look: KINDS[kind]?.[1] ?? "others", size: kinds[kind] }));
  if (free !== null) parts.push({ name: "free", look: "free", size: free });
  return parts.map((part, place) => ({ ...part, letter: String.fromCharCode(65 + place), said: `${part.name} ${bytes(part.size)}` }));
}

function legend(parts, whole, caption) {
  const heads = ["part", "size", "share"].map((title, place) => make("th", { scope: "col", className: place ? "number" : "", textContent: title }));
  const rows = parts.map((part) =>
    make("tr", {},
      make("th", { scope: "row" }, swatch(part), ` ${part.letter} · ${part.name}`),
      make("td", { className: "number", textContent: bytes(part.size) }),
      make("td", { className: "number", textContent: share(part.size, whole) })));
  return make("table", { className: "legend" }, make("caption", { textContent: caption }),
    make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
}

function has({ blend, warm, checkpoints }, names) {
  const on = blend.map(({ name, digest, weight }) => `${name ?? short(digest)} × ${weight}`).join(" + ");
  const rows = [["Blend on now", on || "none"]];
  for (const tier of Object.keys(TIERS)) {
    if (checkpoints[tier]?.length) rows.push([`Checkpoints ${TIERS[tier]}`, checkpoints[tier].map(named).join(", ")]);
    if (warm[tier]?.length) rows.push([`LoRAs ${TIERS[tier]}`, warm[tier].map((digest) => names[digest] ?? short(digest)).join(", ")]);
  }
  return make("dl", {}, ...rows.flatMap(([term, text]) => [make("dt", { textContent: term }), make("dd", { textContent: text })]));
}

const short = (digest) => `${digest.slice(0, 12)}…`;

/** A version is a name and a digest: `demo@5f…`. */
function named(version) {
  const place = version.lastIndexOf("@");
  return place < 0 ? version : `${version.slice(0, place)} (${short(version.slice(place + 1))})`;
}
