// The LoRAs of the shelf: each with its load report, and brought into a blend.

import { button, make } from "./dom.js";
import { size, told } from "./row.js";
import { inPath, json } from "./server.js";

/** As Shelved takes it. */
export const LORAS = {
  label: "LoRAs",
  what: "LoRA",
  path: "v1/loras",
  gone: "its file and its side-car",
  replaceable: true,
  words: ({ id, description, base_family: family, dialect, trigger_words: words }) =>
    [id, description, family ?? "", dialect ?? "", ...words],
  facts,
  inside,
};

function facts({ base_family: family, dialect, ranks, dtype, bytes }) {
  const few = ranks.length > 3 ? `${ranks[0]} to ${ranks.at(-1)}` : ranks.join(", ");
  return [family, dialect, few && `rank ${few}`, dtype, size(bytes)];
}

async function inside(row, page) {
  const { id } = row.card;
  const lora = await json(`${LORAS.path}/${inPath(id)}`);
  row.update({ ...row.card, ...lora });
  return { told: about(lora), use: button("Blend it", () => page.take({ lora: id })) };
}

/** What the server tells of it, the load report too. */
function about({ description, trigger_words: words, weight, recommended, report, problem, metadata, ...rest }) {
  const used = rest.last_used && new Date(rest.last_used * 1000).toLocaleString();
  return [
    ...(problem ? [make("p", { className: "error", textContent: problem })] : []),
    ...(description ? [make("p", { textContent: description })] : []),
    told([["trigger words", words.join(", ")], ["weight", weight], ...Object.entries(recommended), ["last used", used]]),
    ...(report ? [make("details", {}, make("summary", { textContent: `Load report on ${rest.checkpoint}` }), reported(report))] : []),
    ...(Object.keys(metadata).length
      ? [make("details", {}, make("summary", { textContent: "What the file says of itself" }), told(Object.entries(metadata)))]
      : []),
    told([["digest", rest.digest]]),
  ];
}

function reported(report) {
  const counted = (of) => Object.entries(of).map(([name, count]) => `${count} ${name}`).join(", ");
  const unmatched = report.unmatched_count && [report.unmatched_count, ...report.unmatched].join(", ");
  return told([
    ["dialect", report.dialect], ["layers", counted(report.parts)], ["algorithms", counted(report.algorithms)],
    ["ranks", report.ranks.join(", ")], ["tensors used", report.matched_count], ["tensors not used", unmatched || ""],
    ["embeddings", report.embeddings.join(", ")], ["notes", report.notes.join(" ")],
  ]);
}
