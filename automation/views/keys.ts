/** A keyboard: `process.stdin` where it is one. */
export interface Keyboard {
  readonly isTTY?: boolean;
  readonly isRaw?: boolean;
  setRawMode?(raw: boolean): unknown;
  on(event: "data", hear: (chunk: Buffer | string) => void): unknown;
  off(event: "data", hear: (chunk: Buffer | string) => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

/**
 * Hears single keys until it is told to stop; answers with what stops it. Ctrl-C is what it always is: a signal. The
 * terminal does not make one of it while keys are heard one by one, so this does.
 */
export function keys(from: Keyboard, hear: (key: string) => void): () => void {
  if (!from.isTTY || !from.setRawMode) return () => {};
  const listen = (chunk: Buffer | string) => {
    // What an arrow or a paste sends is no answer.
    const key = chunk.toString();
    if (key.includes("\x03")) process.kill(process.pid, "SIGINT");
    else if (key.length === 1) hear(key);
  };
  const stop = () => {
    from.off("data", listen);
    from.setRawMode?.(false);
    from.pause();
    process.off("exit", stop);
  };
  from.setRawMode(true);
  from.on("data", listen);
  from.resume();
  process.on("exit", stop);
  return stop;
}
