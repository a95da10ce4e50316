// Takes the body of an answer, gives its server-sent events as they come: `{ data }` or `{ comment }`.

export async function* framesOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const pieces = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    // A frame of a large picture comes in many pieces: it is put together once, when it is whole.
    if (!value.includes("\n") && !pieces.at(-1)?.endsWith("\n")) {
      pieces.push(value);
      continue;
    }
    const frames = (pieces.splice(0).join("") + value).split("\n\n");
    pieces.push(frames.pop());
    for (const frame of frames) yield* read(frame);
  }
}

function* read(frame) {
  const data = [];
  for (const line of frame.split("\n")) {
    if (line.startsWith(":")) yield { comment: line.slice(1).trim() };
    else if (line.startsWith("data:")) data.push(line.slice(5));
  }
  if (data.length) yield { data: JSON.parse(data.join("\n")) };
}
