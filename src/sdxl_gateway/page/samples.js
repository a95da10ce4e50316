// Takes one status after another, gives what changed over the last minutes.

const MOST = 200;
const PICTURES_SECONDS = 60;
const STEPS_SECONDS = 15;
const GAP_SECONDS = 15;

/** Numbers over time, oldest first; a gap, where nobody looked or the server began anew, is one `null`. */
export class Samples {
  #kept = [];

  add(status, at) {
    const { pictures, steps, p50_seconds: p50, p95_seconds: p95 } = status.throughput;
    const { waiting, running } = status.queue;
    const memory = status.engines.reduce((sum, { device_memory: { held_bytes: held } }) => sum + held, 0);
    const before = this.#kept.at(-1);
    const begins = !before || status.uptime_seconds < before.uptime || at - before.at > GAP_SECONDS;
    if (before && begins) this.#kept.push(null);
    this.#kept.push({ at, uptime: status.uptime_seconds, pictures, steps, p50, p95, waiting, running, memory });
    this.#kept.splice(0, this.#kept.length - MOST);
  }

  /** How far back they go. */
  get seconds() {
    const known = this.#kept.filter(Boolean);
    return known.length ? known.at(-1).at - known[0].at : 0;
  }

  values(name) {
    return this.#kept.map((one) => one && one[name]);
  }

  picturesAMinute() {
    return this.#rates("pictures", PICTURES_SECONDS).map((rate) => rate && rate * 60);
  }

  stepsASecond() {
    return this.#rates("steps", STEPS_SECONDS);
  }

  /** By the second, over the last `over` seconds or since the last gap. */
  #rates(name, over) {
    let first = 0;
    return this.#kept.map((one, place) => {
      if (!one) {
        first = place + 1;
        return null;
      }
      while (first < place - 1 && one.at - this.#kept[first].at > over) first += 1;
      const since = this.#kept[first];
      return one.at > since.at ? (one[name] - since[name]) / (one.at - since.at) : null;
    });
  }
}
