import pc from "picocolors";
import { line, SYMBOLS, WORDS } from "../view";
import { type Keyboard, keys } from "./keys";
import type { Complaint, Manner, Outlet, Printer } from "./printer";
import { folded } from "./text";

function write(out: Outlet, text: string): void {
  out.write(`${out.isTTY ? folded(text, out.columns || 80) : text}\n`);
}

/** Speaks in lines: with words in place of marks where `plain`. */
export function lines(manner: Manner, plain: boolean): Printer {
  const { stdout, stderr } = manner;
  const print = (text: string) => write(stdout, text);
  const say = (text: string) => write(stderr, pc.dim(text));
  let seen: readonly string[] = [];
  return {
    begin() {},
    say,
    print,
    event(event, state) {
      const text = line(event, state, plain ? WORDS : SYMBOLS);
      if (text !== undefined) print(text);
    },
    progress() {},
    kept() {},
    plan: (_plan, text) => text.forEach(print),
    result: (_value, text) => text.forEach(print),
    show: (_type, value, text) => text(value).forEach(print),
    board(_type, value, _text, changes) {
      const now = changes(value);
      for (const text of now) if (!seen.includes(text)) print(`${new Date().toISOString()} ${text}`);
      seen = now;
    },
    fail: (complaint) => complained(complaint, (text) => write(stderr, text)),
    async ask(question, known, signal) {
      if (!manner.stdin.isTTY || plain === false) return undefined;
      print(question);
      return pressed(manner.stdin, known, signal);
    },
    close() {},
  };
}

function complained({ code, message, hint, stack }: Complaint, print: (text: string) => void): void {
  print(pc.red(`${code}: ${message}`));
  print(`  ${hint}`);
  if (stack) print(stack);
}

/** The first of the known keys that is pressed; undefined once the signal says that nobody asks any more. */
export function pressed(from: Keyboard, known: string, signal?: AbortSignal): Promise<string | undefined> {
  if (signal?.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const done = (key: string | undefined) => {
      stop();
      signal?.removeEventListener("abort", cancel);
      resolve(key);
    };
    const cancel = () => done(undefined);
    const stop = keys(from, (key) => {
      if (known.includes(key.toLowerCase())) done(key.toLowerCase());
    });
    signal?.addEventListener("abort", cancel);
  });
}
