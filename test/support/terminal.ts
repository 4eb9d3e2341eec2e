import { execFile, execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { until } from "./driver";

const run = promisify(execFile);

/** A real terminal with a shell in it. */
export interface Terminal {
  /** Types a line and Enter. */
  type(line: string): Promise<void>;
  /** Presses keys by their names in tmux: `C-c`, `q`. */
  press(...keys: string[]): Promise<void>;
  /** What is on the screen, a line each, without what is empty at the end. */
  seen(): Promise<string[]>;
  /** The same with what was scrolled out of it. */
  all(): Promise<string[]>;
  /** The screen as it was sent: with colours. */
  raw(): Promise<string>;
  resize(columns: number, rows: number): Promise<void>;
  /** Whether the cursor is shown. */
  cursor(): Promise<boolean>;
  /** Waits until the screen is so, and answers with it. */
  shows(what: string, holds: (text: string) => boolean): Promise<string[]>;
  close(): void;
}

/** Whether there is tmux to open terminals with. */
export function canOpen(): boolean {
  return spawnSync("tmux", ["-V"]).status === 0;
}

/** Opens a terminal of that size, with a bare shell and these variables. */
export async function terminal(
  columns: number,
  rows: number,
  env: Record<string, string> = {},
): Promise<Terminal> {
  const directory = mkdtempSync(join(tmpdir(), "sluice-terminal-"));
  const socket = join(directory, "tmux");
  const clean = Object.entries(process.env).filter(
    ([name]) =>
      !/^(SLUICE_|PULUMI_|npm_|TMUX|CI$|GITHUB_|NO_COLOR$|FORCE_COLOR$|NODE_OPTIONS$|TERM$)/.test(name),
  );
  const options = {
    env: { ...Object.fromEntries(clean), LANG: "C.UTF-8", TERM: "xterm-256color", ...env },
    encoding: "utf8" as const,
  };
  const tmux = async (...args: string[]) =>
    (await run("tmux", ["-u", "-S", socket, ...args], options)).stdout;
  const size = ["-x", String(columns), "-y", String(rows)];
  await tmux("-f", "/dev/null", "new-session", "-d", ...size, "env PS1='$ ' bash --norc --noprofile");
  const lines = (text: string) =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => line.trimEnd());
  let closed = false;
  const made: Terminal = {
    async type(line) {
      await tmux("send-keys", "-l", line);
      await tmux("send-keys", "Enter");
    },
    press: async (...keys) => void (await tmux("send-keys", ...keys)),
    seen: async () => lines(await tmux("capture-pane", "-p")),
    all: async () => lines(await tmux("capture-pane", "-p", "-S", "-")),
    raw: () => tmux("capture-pane", "-p", "-e"),
    resize: async (x, y) => void (await tmux("resize-window", "-x", String(x), "-y", String(y))),
    cursor: async () => (await tmux("display-message", "-p", "#{cursor_flag}")).trim() === "1",
    async shows(what, holds) {
      let last: string[] = [];
      await until(
        what,
        async () => {
          last = await made.seen();
          return holds(last.join("\n"));
        },
        20,
      ).catch((e: Error) => {
        throw new Error(`${e.message}\n${last.join("\n")}`);
      });
      return last;
    },
    close() {
      if (closed) return;
      closed = true;
      execFileSync("tmux", ["-S", socket, "kill-server"], options);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    await made.shows("a prompt", (text) => text.startsWith("$"));
    return made;
  } catch (e) {
    made.close();
    throw e;
  }
}
