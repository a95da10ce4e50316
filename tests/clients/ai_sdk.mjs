// Takes the server's base URL and a folder with two pictures, prints what the AI SDK got of each call, as JSON.
import { readFileSync } from "node:fs";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateImage } from "ai";

const [baseURL, folder] = process.argv.slice(2);
const gateway = createOpenAICompatible({ name: "gateway", baseURL, apiKey: "unused" });
const few = { maxRetries: 0, providerOptions: { gateway: { steps: 2, seed: 7 } } };
const pictures = ["first", "second"].map((name) => readFileSync(`${folder}/${name}.png`));

async function painted(model, prompt, n = 1) {
  const { images } = await generateImage({ model: gateway.imageModel(model), prompt, n, ...few });
  return images.map((image) => image.base64);
}

async function refusal(promise) {
  try {
    await promise;
  } catch (error) {
    return { kind: error.name, status: error.statusCode, message: error.message };
  }
}

console.log(
  JSON.stringify({
    blend: await painted("gpt-image-1+outline:0.8", "a red circle", 2),
    edit: await painted("demo", { text: "a red circle", images: pictures }),
    unknown_lora: await refusal(painted("gpt-image-1+no-such-lora", "a red circle")),
  }),
);
