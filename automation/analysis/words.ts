// Made once: one `toLocaleString` takes as long as a judge's whole finding.
const FORMAT = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });

/** A number for people: at most two decimals, thousands apart. */
export function figure(value: number): string {
  return FORMAT.format(value);
}

/** A share from 0 to 1 as percent: `1.5 %`. */
export function percent(value: number): string {
  return `${figure(value * 100)} %`;
}

/** Seconds for people: `250 ms`, `1.5 s`. */
export function time(value: number): string {
  return value < 1 ? `${figure(value * 1000)} ms` : `${figure(value)} s`;
}
