// Which model suits a photo, as tfsr.zoo.choosing finds it out.
//
// `rule` is `choice` of models.json. What is returned has the model's `name` and `why`.

import { noiseSigma } from "./noise.js";
import { originOf } from "./origin.js";

/** Returns the model that enlarges a file. */
export async function enlargerOf(file, scale, rule) {
  const { found, lossy, quality } = await originOf(file, rule);
  const spoiled = lossy && (quality ?? 0) <= rule.lossy_quality;
  const name = (spoiled && rule.lossy[scale]) || rule.clean[scale];
  const warning = spoiled && !rule.lossy[scale] ? `; it ${rule.sharper}` : "";
  return { name, why: `${name}, for ${found}${warning}` };
}

/** Returns the model that restores a file, of which `photo` has the pixels. */
export async function restorerOf(file, photo, rule) {
  const origin = await originOf(file, rule);
  const { kind, level, found } = origin.lossy
    ? { kind: "jpeg", level: origin.quality, found: origin.found }
    : noise(photo, rule);
  const best = rule.restorers.find(
    (r) => r.kind === kind && level !== null && r.low <= level && level <= r.high,
  );
  if (!best) throw new Error(`${found}, which is not what a model here is for; choose one.`);
  return { name: best.name, why: `${best.name}, for ${found}` };
}

function noise(photo, rule) {
  const sigma = noiseSigma(photo);
  const level = sigma < rule.faint ? null : sigma;
  return { kind: "noise", level, found: `noise of sigma ${sigma.toFixed(0)}` };
}
