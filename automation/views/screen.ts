import { width } from "./text";

/** A terminal to draw on: `process.stdout` where it is one. */
export interface Terminal {
  write(text: string): unknown;
  readonly columns?: number;
  readonly rows?: number;
  on(event: "resize", hear: () => void): unknown;
  off(event: "resize", hear: () => void): unknown;
}

/** A part of the terminal that is drawn again and again in place. */
export interface Screen {
  /** Something changed: draws soon, and what is as before not at all. */
  touch(): void;
  /** Takes the frame away and gives the cursor back. May be opened again with `touch`. */
  clear(): void;
}

/** Milliseconds between two frames: ten a second are as many as anybody reads. */
const BETWEEN = 100;
/** Milliseconds after which times that are shown have grown. */
const TICK = 1000;
const HIDE = "\x1b[?25l";
const SHOW = "\x1b[?25h";
/** What a terminal is taken for that does not say how large it is. */
const USUAL = { columns: 80, rows: 24 };

/** Draws `frame` beneath what was printed, once a second and whenever it is touched. */
export function screen(out: Terminal, frame: (columns: number, rows: number) => readonly string[]): Screen {
  let shown: readonly string[] = [];
  let open = false;
  let drawn = 0;
  let timer: NodeJS.Timeout | undefined;

  function size() {
    const { columns = USUAL.columns, rows = USUAL.rows } = out;
    return { columns: columns || USUAL.columns, rows: rows || USUAL.rows };
  }

  /** Rows that lines take. A terminal that got narrower has broken them. */
  function taken(lines: readonly string[], columns: number): number {
    return lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(width(line) / columns)), 0);
  }

  /** Back to where the frame begins: the cursor is at the start of its last line. */
  function home(columns: number): string {
    return `\r${up(taken(shown.slice(0, -1), columns))}`;
  }

  /**
   * Empties the frame, row by row: what is erased to the end of the screen at once, some terminals keep as if it had
   * been scrolled away.
   */
  function wipe(columns: number): string {
    const rows = taken(shown, columns);
    return `${home(columns)}${Array.from({ length: rows }, () => "\x1b[2K").join("\r\n")}\r${up(rows - 1)}`;
  }

  function paint(anew = false): void {
    clearTimeout(timer);
    timer = setTimeout(paint, TICK).unref();
    drawn = Date.now();
    const { columns, rows } = size();
    const next = frame(columns, Math.max(1, rows - 1));
    if (!anew && same(next, shown)) return;
    // One write, so that nobody sees half of it; a line is emptied before and not after, for what comes after a
    // full one is in doubt.
    let text = shown.length === 0 ? HIDE : anew ? wipe(columns) : home(columns);
    text += next.map((line) => `\x1b[2K${line.includes("\x1b") ? `${line}\x1b[0m` : line}`).join("\r\n");
    if (next.length < shown.length) text += "\r\n\x1b[J\x1b[A";
    shown = next;
    out.write(`${text}\r`);
  }

  const resized = () => paint(true);
  const leave = () => clear();

  function touch(): void {
    if (!open) {
      open = true;
      out.on("resize", resized);
      process.on("exit", leave);
      process.on("SIGCONT", resized);
    }
    const wait = drawn + BETWEEN - Date.now();
    clearTimeout(timer);
    if (wait <= 0) paint();
    else timer = setTimeout(paint, wait).unref();
  }

  function clear(): void {
    if (!open) return;
    open = false;
    clearTimeout(timer);
    out.off("resize", resized);
    process.off("exit", leave);
    process.off("SIGCONT", resized);
    if (shown.length > 0) out.write(`${wipe(size().columns)}${SHOW}`);
    shown = [];
    drawn = 0;
  }

  return { touch, clear };
}

function up(rows: number): string {
  return rows > 0 ? `\x1b[${rows}A` : "";
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i]);
}
