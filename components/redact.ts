/** Masks secrets before a text leaves the process. */
export interface Redactor {
  (text: string): string;
  /** The same deep in a JSON value, keys too. Numbers stay: a journal that is replayed keeps its types. */
  json<T>(value: T): T;
}

/** What stands for a secret. Shorter than any secret that is masked, so masking comes to an end. */
const MASK = "***";
/** A shorter secret would be found in half of all words. */
const SHORTEST = 4;
const USERINFO = /:\/\/(?!\*\*\*@)[^\s/?#"'<>\\]+@/g;

/**
 * The one redactor: masks secrets, their base64 and URL-encoded forms, each line of those that have several,
 * and userinfo in URLs. Give a function where secrets are still being resolved.
 */
export function createRedactor(secrets: readonly string[] | (() => readonly string[])): Redactor {
  const current = typeof secrets === "function" ? secrets : () => secrets;
  let known = -1;
  let masked: string[] = [];
  const text = (value: string): string => {
    const all = current();
    if (all.length !== known) {
      masked = [...new Set(all.flatMap(forms))].filter((form) => form.length >= SHORTEST);
      known = all.length;
    }
    for (let result = value; ; ) {
      const next = mask(result.replace(USERINFO, `://${MASK}@`), masked);
      // Masking may bring two halves together: go on until nothing is found.
      if (next === result) return next;
      result = next;
    }
  };
  const json = (value: unknown): unknown => {
    if (typeof value === "string") return text(value);
    if (Array.isArray(value)) return value.map(json);
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [text(key), json(inner)]));
    return value;
  };
  return Object.assign(text, { json: json as <T>(value: T) => T });
}

function mask(text: string, secrets: readonly string[]): string {
  const found: [from: number, to: number][] = [];
  for (const secret of secrets)
    for (let at = text.indexOf(secret); at >= 0; at = text.indexOf(secret, at + 1))
      found.push([at, at + secret.length]);
  if (found.length === 0) return text;
  found.sort(([a], [b]) => a - b);
  let result = "";
  let end = 0;
  for (const [from, to] of found) {
    // Overlapping finds are one: the rest of either would give it away.
    if (from > end || end === 0) result += text.slice(end, from) + MASK;
    end = Math.max(end, to);
  }
  return result + text.slice(end);
}

function forms(secret: string): string[] {
  if (secret.length < SHORTEST) return [];
  const lines = secret.split(/\r?\n/).map((line) => line.trim());
  return [secret, ...lines].flatMap((part) => {
    if (part.length < SHORTEST) return [];
    const bytes = Buffer.from(part);
    const url = encode(part);
    return [part, JSON.stringify(part).slice(1, -1), ...url, bytes.toString("hex"), ...base64(bytes)];
  });
}

function encode(part: string): string[] {
  // A lone surrogate can't be encoded, so it can't be sent that way either.
  if (/\p{Surrogate}/u.test(part)) return [];
  const component = encodeURIComponent(part);
  const form = new URLSearchParams([["", part]]).toString().slice(1);
  const lower = (text: string) => text.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase());
  return [component, lower(component), encodeURI(part), form, lower(form)];
}

/** Whole, and as it shows inside a longer text (`user:secret`) at each of the three alignments. */
function base64(bytes: Buffer): string[] {
  const whole = bytes.toString("base64");
  const inner = [0, 1, 2].map((offset) => {
    const shifted = Buffer.concat([Buffer.alloc(offset), bytes]).toString("base64");
    return shifted.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6));
  });
  return [whole, ...inner].flatMap((text) => [text, text.replaceAll("+", "-").replaceAll("/", "_")]);
}
