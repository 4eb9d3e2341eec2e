// Finds secrets in plain text: by the name they go under, or by their own form. Pure.

/** Formats that are secrets wherever they stand. Issuers publish the prefixes so that scanners can find them. */
const FORMATS: readonly (readonly [what: string, form: RegExp])[] = [
  ["a private key", /-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----/],
  ["an age private key", /AGE-SECRET-KEY-1[0-9A-Z]{20,}/],
  ["an AWS access key", token("(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])")],
  ["a GitHub token", token("(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})")],
  ["a GitLab token", token("gl(?:pat|dt|rt|cbt|ptt|ft|agent)-[A-Za-z0-9_-]{20,}")],
  ["a Slack token", token("xox[abeoprs]-[A-Za-z0-9-]{10,}")],
  ["a Slack webhook", /hooks\.slack\.com\/(?:services|workflows)\/[A-Za-z0-9/]{20,}/],
  ["a Stripe key", token("(?:[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,})")],
  ["a Google key", token("(?:AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28})")],
  ["an npm token", token("npm_[A-Za-z0-9]{36}")],
  ["a PyPI token", token("pypi-[A-Za-z0-9_-]{40,}")],
  ["a Docker token", token("dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}")],
  ["a Pulumi token", token("pul-[0-9a-f]{40}")],
  ["a Vault token", token("hv[sbr]\\.[A-Za-z0-9_-]{24,}")],
  ["a DigitalOcean token", token("do[opr]_v1_[0-9a-f]{64}")],
  ["a SendGrid key", token("SG\\.[A-Za-z0-9_-]{22}\\.[A-Za-z0-9_-]{43}")],
  ["a Shopify token", token("shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}")],
  ["a Databricks token", token("dapi[0-9a-f]{32}")],
  ["an API key", token("sk-(?=[A-Za-z_-]{0,40}[0-9])[A-Za-z0-9_-]{0,100}?[A-Za-z0-9]{20}")],
  [
    "a signed token (JWT)",
    token("eyJ[A-Za-z0-9_-]{10,4000}\\.eyJ[A-Za-z0-9_-]{10,4000}\\.[A-Za-z0-9_-]{10,}"),
  ],
  ["an Authorization header", /^(?:bearer|basic)\s+(?=\S*[0-9+/=])[A-Za-z0-9._~+/=-]{16,}$/i],
];

/** A format that stands on its own, not in the middle of a longer word. */
function token(form: string): RegExp {
  return new RegExp(`(?<![A-Za-z0-9])${form}`);
}

const URL_USER = /:\/\/([^\s/?#@:]*)(?::([^\s/?#]*))?@[^\s/?#]+(\/[^\s?#]*)?/g;
const ASSIGNMENT =
  /(?:^|[\s;&?])(?:password|passwd|pwd|accountkey|sharedaccesskey|access_token|api_?key|client_secret)\s*=\s*("[^"]*"|'[^']*'|[^\s;&]+)/gi;
const SIGNATURE = /[?&](?:sig|x-amz-signature|x-goog-signature)=[A-Za-z0-9%+/=_-]{20,}/i;

/** What stands for a secret and is none: `$NAME`, `${NAME}`, `$(…)`, `{{ name }}`, `<name>`, `***`, a mounted secret. */
const STAND_IN =
  /^(?:\$[A-Za-z_]\w*|\$\{[\w.]+\}|\$\(.*|\{\{[^{}]+\}\}|<[^<>]+>|%[A-Z_]\w*%|\*+|(?:\/var)?\/run\/secrets\/\S+)$/s;

/** Switches, in whose name a secret's often ends: `REQUIRE_PASSWORD=true`. */
const SWITCH = /^(?:true|false|yes|no|on|off|0|1|none|null|disabled|enabled|required|optional)?$/i;

/** What the text is by its own form (`a GitHub token`, `a URL with a password`); undefined if it is no secret. */
export function secretForm(text: string): string | undefined {
  for (const [what, form] of FORMATS) if (form.test(text)) return what;
  for (const [, user = "", password = "", path = ""] of text.matchAll(URL_USER)) {
    if (password && isLiteral(password)) return "a URL with a password";
    // A long user without a password is a token. A Sentry DSN has a public key there, and a project number as path.
    if (!password && user.length >= 20 && isLiteral(user) && !/^\/\d+$/.test(path))
      return "a URL with a token";
  }
  if (SIGNATURE.test(text)) return "a signed URL";
  for (const [, value = ""] of text.matchAll(ASSIGNMENT))
    if (isLiteral(value.replace(/^["']|["']$/g, "")))
      return "a connection string or query with a secret in it";
  return undefined;
}

/** Words that may come after the one that matters: `JWT_SECRET_OLD`, `API_KEY_2`. */
const TAIL =
  /^(?:\d+|v\d+|old|new|next|previous|current|primary|secondary|value|base64|b64|hex|dev|test|staging|prod|production)$/;
/** Names that say of themselves that what follows is a switch, or is there for everybody to see. */
const HARMLESS =
  /^(?:no|require|required|disable|enable|skip|allow|use|show|hide|ask|without|public|publishable)$/;
const ALONE = new Set("password passwd passphrase apikey apitoken apisecret".split(" "));
const KEYS = new Set("api access secret private encryption signing master auth account".split(" "));
const PASSES = new Set(
  "admin amqp db database ftp ldap mail mongo mysql pg postgres rabbitmq redis root sa smtp sql user".split(
    " ",
  ),
);

/** Whether a variable or flag of that name holds a secret: `DB_PASSWORD`, `--api-key`, `githubToken`; not `TOKEN_TTL`. */
export function secretName(name: string): boolean {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter(Boolean);
  if (words.some((word) => HARMLESS.test(word))) return false;
  while (words.length > 1 && TAIL.test(words.at(-1) ?? "")) words.pop();
  const last = (words.at(-1) ?? "").replace(/(?<=[a-z])\d+$/, "");
  const before = words.at(-2) ?? "";
  if (last === "secret") return before !== "pull"; // an image pull secret is named, not spelt out
  if (last === "token") return !/^(?:max|min|per|page|next)$/.test(before);
  if (last === "key") return KEYS.has(before);
  if (last === "pwd") return before !== "" && before !== "old"; // PWD alone is the working directory
  if (last === "pass") return PASSES.has(before);
  return (
    ALONE.has(last) || /(?:password|passwd|passphrase|(?:api|secret|private|access)key|authtoken)$/.test(last)
  );
}

/** Whether the text is a value of its own, and neither a switch nor something that stands for a value. */
export function isLiteral(text: string): boolean {
  return !SWITCH.test(text.trim()) && !STAND_IN.test(text.trim());
}

/** Whether the text is `scheme:name@version`, with a version that doesn't move. */
export function isReference(text: string): boolean {
  const [, version = ""] = /^[a-z][a-z0-9+.-]*:(?!\/\/)[^\s@]+@([^\s@]+)$/.exec(text) ?? [];
  return version !== "" && !/^(?:latest|current|head|newest)$/i.test(version) && !secretForm(text);
}

/** The text as it may be shown: without userinfo in URLs, and not at all if it still looks like a secret. */
export function masked(text: string): string {
  const shown = text.replace(/:\/\/[^\s/?#]*@/g, "://***@");
  return secretForm(shown) ? "***" : shown;
}
