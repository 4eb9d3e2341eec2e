import { z } from "zod";
import { BadConfig, error } from "../errors";

/** A repository to make an artifact from. */
export interface GitSource {
  /** URL of the repository: https, http, ssh or file; without password, token or query. */
  git: string;
  /** Branch, tag, or all 40 digits of a commit. @default the repository's default branch */
  ref?: string | undefined;
  /** Directory of the repository that is the service. @default the whole repository */
  directory?: string | undefined;
  /** Build command without a shell, run once in the copy. @default none */
  build?: string[] | undefined;
  /** Names left out at any depth. @default [] */
  ignore?: string[] | undefined;
}

/** All that decides, beside the commit, what an artifact holds. */
export type Origin = Pick<GitSource, "directory" | "build" | "ignore"> & {
  /** The repository as a URL in its one spelling. */
  url: string;
};

export const GitRefused = error("git-source-refused", {
  message: (what: string, why: string) => `The git source is refused: its ${what} ${why}.`,
  hint: () =>
    'Correct the service\'s source in stacks/services.ts, for example { git: "https://git.example.org/shop.git", ref: "main" }.',
});

const SCHEMES = ["https:", "http:", "ssh:", "file:"];
const PARTS = ["directory", "build", "ignore"];
const words = z.array(z.string().min(1)).min(1);
const tail = { build: words.optional(), ignore: z.array(z.string().min(1)).optional() };
const directorySource = z.strictObject({ directory: z.string().min(1), ...tail });
const gitSource = z.strictObject({
  git: z.string(),
  ref: z.string().optional(),
  directory: z.string().optional(),
  ...tail,
});

/** Checks what a service's artifact is made from. Throws `bad-config` naming `where`, and `git-source-refused`. */
export function checkSource(source: unknown, where: string): void {
  const git = typeof source === "object" && source !== null && "git" in source && source.git !== undefined;
  // Written out: a member that is undefined is one that is missing.
  const given = JSON.parse(JSON.stringify(source ?? null)) as unknown;
  const result = (git ? gitSource : directorySource).safeParse(given);
  if (!result.success) {
    const issue = result.error.issues[0];
    const field = ["source", ...(issue?.path ?? [])].join(".");
    throw BadConfig(where, `${field}: ${issue?.message ?? "is malformed"}.`);
  }
  if ("git" in result.data) readSource(result.data);
}

/** Takes a source apart: what is fetched, and the ref that names the commit. Throws `git-source-refused`. */
export function readSource(source: GitSource): { origin: Origin; ref: string | undefined } {
  const { build, ignore } = source;
  return {
    origin: { url: readUrl(source.git), directory: readDirectory(source.directory), build, ignore },
    ref: source.ref === undefined ? undefined : readRef(source.ref),
  };
}

/** `git:<url>[#directory=…&build=…&ignore=…]@<commit>`: whoever has it alone can make the same thing again. */
export function artifactOf(origin: Origin, commit: string): string {
  const parts = new URLSearchParams();
  if (origin.directory) parts.set("directory", origin.directory);
  for (const word of origin.build ?? []) parts.append("build", word);
  for (const name of [...(origin.ignore ?? [])].sort()) parts.append("ignore", name);
  // An @ ends the repository, and one after :// would be masked as a password wherever the artifact is shown.
  const url = origin.url.replaceAll("@", "%40");
  return `git:${url}${parts.size > 0 ? `#${parts}` : ""}@${commit}`;
}

/** Takes the repository of an artifact apart. Throws `git-source-refused`, for a handle may come from anywhere. */
export function originOf(repository: string): Origin {
  const at = repository.indexOf("#");
  const url = at < 0 ? repository : repository.slice(0, at);
  const parts = new URLSearchParams(at < 0 ? "" : repository.slice(at + 1));
  if ([...parts.keys()].some((key) => !PARTS.includes(key)))
    throw GitRefused("url", "has a strange fragment");
  const build = parts.getAll("build");
  return {
    url: readUrl(url.replace(/^(ssh:\/\/[^/]*)%40/, "$1@")),
    directory: readDirectory(parts.get("directory") ?? undefined),
    build: build.length > 0 ? build : undefined,
    ignore: parts.getAll("ignore"),
  };
}

function readUrl(text: string): string {
  // The text is never repeated: what stands before an @ is most likely a password.
  const bad = (why: string) => GitRefused("url", why);
  if (text.startsWith("-")) throw bad("begins with a dash");
  if (hasControl(text) || /%(?:[01][0-9a-f]|7f)/i.test(text)) throw bad("has control characters");
  if (/^[^/:]+@[^/:]+:(?!\/\/)/.test(text))
    throw bad("is in the short form of ssh; write it as ssh://<user>@<host>/<path>");
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !SCHEMES.includes(url.protocol))
    throw bad("is none; https://, http://, ssh:// and file:// are known");
  if (url.password || (url.username && url.protocol !== "ssh:"))
    throw bad("holds a user or a password, which would end up in a handle; put them into ~/.netrc");
  if (/[?#]/.test(text)) throw bad("has a query or a fragment");
  if (url.username && !/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(url.username)) throw bad("has a strange user");
  if (url.protocol === "file:" ? url.host : !/^[A-Za-z0-9[][A-Za-z0-9.:_-]*\]?$/.test(url.hostname))
    throw bad(url.protocol === "file:" ? "names a host" : "has a strange host");
  if (url.pathname.replaceAll("/", "") === "") throw bad("names no repository on its host");
  return url.href;
}

function readRef(text: string): string {
  const bad = (why: string) => GitRefused("ref", why);
  if (text.startsWith("-")) throw bad("begins with a dash");
  if (/^[0-9a-f]{40}$/i.test(text)) return text.toLowerCase();
  if (/^[0-9a-f]{64}$/i.test(text)) throw bad("is a commit of a SHA-256 repository, which is not supported");
  // What git-check-ref-format(1) forbids, and the wildcards of ls-remote among it.
  if (
    text === "" ||
    text.length > 250 ||
    hasControl(text) ||
    /[ ~^:?*[\\]|\.\.|@\{|\/\/|\.lock(?:\/|$)|[/.]$|^\//.test(text)
  )
    throw bad("is no name of a branch or tag");
  return text;
}

function readDirectory(text: string | undefined): string | undefined {
  if (text === undefined || text === "." || text === "./") return undefined;
  const bad = (why: string) => GitRefused("directory", why);
  if (text.startsWith("-")) throw bad("begins with a dash");
  if (hasControl(text)) throw bad("has control characters");
  const path = text.replace(/^\.\//, "").replace(/\/$/, "");
  const names = path.split("/");
  if (names.some((name) => ["", ".", ".."].includes(name) || name.toLowerCase() === ".git"))
    throw bad("is no plain path inside the repository");
  return path;
}

function hasControl(text: string): boolean {
  return /\p{Cc}/u.test(text);
}
