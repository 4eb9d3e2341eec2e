import { request } from "node:http";

/** What a health path answered. */
export interface Answer {
  /** A 2xx. */
  ok: boolean;
  /** Nobody listens. */
  refused: boolean;
  status?: number | undefined;
  /** For a person: "it answered 503". */
  said: string;
}

/** Milliseconds a health path may take, as long as kubelet's probes of busy services are commonly given. */
const TIME_LIMIT_MS = 2000;

/** Asks a health path once, on a connection of its own. Never throws. */
export function askHealth(port: number, path: string, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve({ ok: false, refused: false, said: "it was not asked" });
    const req = request({ host: "127.0.0.1", port, path, agent: false, timeout: TIME_LIMIT_MS });
    const stop = (): void => void req.destroy();
    const answer = (given: Answer): void => {
      signal.removeEventListener("abort", stop);
      resolve(given);
    };
    signal.addEventListener("abort", stop);
    req.on("timeout", () => req.destroy(new Error(`no answer within ${TIME_LIMIT_MS / 1000} s`)));
    req.on("error", (thrown: NodeJS.ErrnoException) =>
      answer({ ok: false, refused: thrown.code === "ECONNREFUSED", said: thrown.message }),
    );
    req.on("response", (response) => {
      const status = response.statusCode ?? 0;
      response.destroy();
      answer({ ok: status >= 200 && status < 300, refused: false, status, said: `it answered ${status}` });
    });
    req.end();
  });
}
