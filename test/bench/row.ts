/** One line of the table that `npm run bench` prints. */
export interface Row {
  figure: string;
  value: string;
  target: string;
  ok: boolean;
}

/** The middle one; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? (sorted[half] ?? 0) : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2;
}

/** The rows as text. */
export function table(rows: readonly Row[]): string {
  const width = (pick: (row: Row) => string) => Math.max(...rows.map((row) => pick(row).length), 6);
  const [figure, value] = [width((r) => r.figure), width((r) => r.value)];
  return rows
    .map(
      (r) =>
        `${r.ok ? "ok    " : "MISSED"}  ${r.figure.padEnd(figure)}  ${r.value.padEnd(value)}  ${r.target}`,
    )
    .join("\n");
}
