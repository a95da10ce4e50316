// Takes the server's base URL and a folder with two pictures, prints what openai-node got of each call, as JSON.
import { createReadStream } from "node:fs";
import OpenAI from "openai";

const [baseURL, folder] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "unused", maxRetries: 0 });
const few = { prompt: "a red circle", steps: 2, seed: 7, response_format: "b64_json" };
const picture = (name) => createReadStream(`${folder}/${name}.png`);
const painted = (reply) => reply.data.map((one) => one.b64_json);

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, code: error.code, param: error.param, message: error.message };
  }
}

async function stream() {
  const events = await client.images.generate({ model: "demo", ...few, steps: 4, stream: true, partial_images: 2 });
  const seen = [];
  for await (const event of events) seen.push({ type: event.type, index: event.partial_image_index, picture: event.b64_json });
  return seen;
}

const listed = [];
for await (const model of client.models.list()) listed.push(model.id);
const edit = await client.images
  .edit({ model: "demo", ...few, image: [picture("first"), picture("second")] })
  .withResponse();

console.log(
  JSON.stringify({
    blend: painted(await client.images.generate({ model: "gpt-image-1+outline:0.8", ...few, n: 2 })),
    edit: painted(edit.data),
    warning: edit.response.headers.get("x-sdxl-gateway-warning"),
    variation: painted(await client.images.createVariation({ model: "demo", ...few, image: picture("first") })),
    stream: await stream(),
    listed,
    retrieved: await client.models.retrieve("gpt-image-1+outline:0.8"),
    unknown_lora: await refusal(client.images.generate({ model: "gpt-image-1+no-such-lora", ...few })),
    unknown_model: await refusal(client.models.retrieve("no/such-model")),
  }),
);
