// Takes numbers, gives pictures of them: a course over time, and a device's memory as a bar. Each says in words what it shows.

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 320;
const HIGH = 90;
const BAR = { wide: 640, high: 38 };
const NARROWEST = 3;

export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Lines over the same time, oldest first; `null` is a gap. The second line is dashed, the third dotted. */
export function course(lines, said) {
  const most = Math.max(...lines.flat().map((value) => value ?? 0)) || 1;
  const paths = lines.map((values, place) => draw("path", { d: path(values, most), class: `line line-${place}` }));
  const axis = draw("path", { d: `M0 ${HIGH - 1}H${WIDE}M0 1H${WIDE}`, class: "axis" });
  const box = { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "course", role: "img", "aria-label": said, preserveAspectRatio: "none" };
  return draw("svg", box, axis, ...paths);
}

function path(values, most) {
  const across = WIDE / Math.max(values.length - 1, 1);
  let lifted = true;
  let drawn = "";
  values.forEach((value, place) => {
    if (value !== null) drawn += `${lifted ? "M" : "L"}${(place * across).toFixed(1)} ${height(value, most)}`;
    lifted = value === null;
  });
  return drawn;
}

const height = (value, most) => (HIGH - 3 - (value / most) * (HIGH - 6)).toFixed(1);

/** Parts side by side, each with its own pattern and letter: `{ letter, look, size, said }`. */
export function bar(parts, said) {
  const whole = parts.reduce((sum, { size }) => sum + size, 0) || 1;
  let left = 0;
  const drawn = parts.flatMap((part) => {
    const wide = (part.size / whole) * BAR.wide;
    const made = piece(part, left, wide);
    left += wide;
    return made;
  });
  const frame = draw("rect", { x: 0.5, y: 0.5, width: BAR.wide - 1, height: BAR.high - 1, class: "frame" });
  const box = { viewBox: `0 0 ${BAR.wide} ${BAR.high}`, class: "ledger", role: "img", "aria-label": said };
  return draw("svg", box, ...drawn, frame);
}

function piece({ letter, look, size, said }, left, wide) {
  if (!size) return [];
  const at = { x: left.toFixed(2), y: 0, width: Math.max(wide, NARROWEST).toFixed(2), height: BAR.high };
  const rect = draw("rect", { ...at, class: `part ${look}` }, draw("title", {}, said));
  const pattern = draw("rect", { ...at, fill: `url(#pattern-${look})` });
  const middle = { x: (left + wide / 2).toFixed(2), y: BAR.high / 2 + 7, class: "letter", "text-anchor": "middle" };
  return wide > 24 ? [rect, pattern, draw("text", middle, letter)] : [rect, pattern];
}

/** What a legend shows beside a part's name. */
export function swatch({ look }) {
  const at = { width: 22, height: 22 };
  return draw("svg", { viewBox: "0 0 22 22", class: "swatch", "aria-hidden": "true" },
    draw("rect", { ...at, class: `part ${look}` }), draw("rect", { ...at, fill: `url(#pattern-${look})` }));
}

// Colour is never the only sign: each look has lines of its own.
const PATTERNS = {
  checkpoints: "", pristine: "M0 8L8 0", factors: "M0 0L8 8", deltas: "M4 0V8", others: "M0 4H8M4 0V8", free: "",
};

/** To be in the document once. */
export function patterns() {
  const made = Object.entries(PATTERNS).map(([look, d]) =>
    draw("pattern", { id: `pattern-${look}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, draw("path", { d, class: "hatch" })));
  return draw("svg", { width: 0, height: 0, "aria-hidden": "true", class: "patterns" }, draw("defs", {}, ...made));
}
