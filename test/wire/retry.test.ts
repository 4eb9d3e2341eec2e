import assert from "node:assert/strict";
import { type Retry, retry, retryAfter } from "../../automation/wire/retry";

/** Time that passes only where somebody waits for it; what sleeps longest is woken last. */
function timeline() {
  const sleepers = new Set<{ at: number; wake(): void }>();
  const slept: number[] = [];
  let now = 0;
  const clock = {
    now: () => now,
    sleep(milliseconds: number, signal?: AbortSignal) {
      slept.push(milliseconds);
      return new Promise<void>((resolve) => {
        const sleeper = { at: now + milliseconds, wake: () => done() };
        const done = () => {
          sleepers.delete(sleeper);
          resolve();
        };
        sleepers.add(sleeper);
        signal?.addEventListener("abort", done, { once: true });
      });
    },
  };
  /** Lets everybody who sleeps until then wake, one after the other. */
  async function pass(milliseconds: number): Promise<void> {
    const end = now + milliseconds;
    for (;;) {
      // What was woken before may go to sleep again.
      for (let i = 0; i < 20; i++) await Promise.resolve();
      const next = [...sleepers].sort((a, b) => a.at - b.at)[0];
      if (!next || next.at > end) break;
      now = next.at;
      next.wake();
    }
    now = end;
  }
  return { clock, slept, pass, sleepers };
}

const busy = new Error("busy");
const wrong = new Error("wrong");

/** Fails so often, then succeeds; with what was tried. */
function world(failures: readonly unknown[], change: Partial<Retry> = {}) {
  const time = timeline();
  const caller = new AbortController();
  const tried: number[] = [];
  const left = [...failures];
  const result = retry(
    async () => {
      tried.push(time.clock.now());
      if (left.length > 0) throw left.shift();
      return "done";
    },
    {
      signal: caller.signal,
      deadlineMs: 10_000,
      transient: (thrown) => thrown === busy,
      clock: time.clock,
      random: () => 1,
      ...change,
    },
  ).then(
    (value) => value as unknown,
    (thrown: unknown) => thrown,
  );
  return { ...time, caller, tried, result };
}

describe("A retry", () => {
  it("asks once where that succeeds, and leaves no timer behind", async () => {
    const { result, tried, sleepers } = world([]);
    assert.equal(await result, "done");
    assert.deepEqual(tried, [0]);
    assert.equal(sleepers.size, 0);
  });

  it("tries again after pauses that grow, and no more often than was said", async () => {
    const twice = world([busy, busy]);
    await twice.pass(10_000);
    assert.equal(await twice.result, "done");
    assert.deepEqual(twice.tried, [0, 250, 750]);
    const often = world([busy, busy, busy, busy]);
    await often.pass(10_000);
    assert.equal(await often.result, busy);
    assert.equal(often.tried.length, 3);
    const once = world([busy], { tries: 1 });
    assert.equal(await once.result, busy);
    assert.equal(once.tried.length, 1);
  });

  it("spreads half of each pause by chance, so that many don't come back together", async () => {
    const pauses = async (random: () => number) => {
      const { slept, pass, result } = world([busy, busy], { random });
      await pass(10_000);
      await result;
      return slept.filter((milliseconds) => milliseconds !== 10_000);
    };
    assert.deepEqual(await pauses(() => 0), [125, 250]);
    assert.deepEqual(await pauses(() => 0.5), [187.5, 375]);
  });

  it("never tries again what fails for good", async () => {
    const { result, tried } = world([wrong]);
    assert.equal(await result, wrong);
    assert.equal(tried.length, 1);
    const later = world([busy, wrong]);
    await later.pass(10_000);
    assert.equal(await later.result, wrong);
    assert.equal(later.tried.length, 2);
  });

  it("waits at least as long as it was asked to, and not at all where that is beyond the deadline", async () => {
    const asked = world([busy], { transient: () => 2000 });
    await asked.pass(1999);
    assert.equal(asked.tried.length, 1);
    await asked.pass(1000);
    assert.equal(asked.tried.length, 2);
    const long = world([busy], { transient: () => 10_000 });
    assert.equal(await long.result, busy);
    assert.equal(long.tried.length, 1);
    // 0 is a number of milliseconds, not a no.
    const now = world([busy], { transient: () => 0 });
    await now.pass(1000);
    assert.equal(await now.result, "done");
  });

  it("ends at the deadline, whatever a try does with its signal", async () => {
    const time = timeline();
    let seen: AbortSignal | undefined;
    const options = {
      signal: new AbortController().signal,
      deadlineMs: 500,
      transient: () => true,
      clock: time.clock,
    };
    const hang = (signal: AbortSignal) => {
      seen = signal;
      return new Promise<never>(() => undefined);
    };
    const late = assert.rejects(
      retry(hang, { ...options, late: (ms) => new Error(`late by ${ms}`) }),
      /late by 500/,
    );
    const plain = assert.rejects(retry(hang, options), { name: "TimeoutError" });
    await time.pass(500);
    await late;
    await plain;
    assert.equal(seen?.aborted, true);
  });

  it("says at the deadline what the try before said", async () => {
    const time = timeline();
    let tries = 0;
    const result = retry(() => (tries++ === 0 ? Promise.reject(busy) : new Promise<never>(() => undefined)), {
      signal: new AbortController().signal,
      deadlineMs: 1000,
      transient: () => true,
      clock: time.clock,
    }).catch((thrown: unknown) => thrown);
    await time.pass(1000);
    assert.equal(await result, busy);
    assert.equal(tries, 2);
  });

  it("stops when the caller's signal fires: before, in a try, and in a pause", async () => {
    const reason = new Error("aborted by the test");
    const before = new AbortController();
    before.abort(reason);
    const never = world([], { signal: before.signal });
    assert.equal(await never.result, reason);
    assert.deepEqual(never.tried, []);

    const pausing = world([busy]);
    await pausing.pass(10);
    pausing.caller.abort(reason);
    assert.equal(await pausing.result, reason);
    assert.equal(pausing.tried.length, 1);
    assert.equal(pausing.sleepers.size, 0);

    const caller = new AbortController();
    const time = timeline();
    const trying = retry(
      (signal) => new Promise<never>((_, no) => signal.addEventListener("abort", () => no(busy))),
      {
        signal: caller.signal,
        deadlineMs: 1000,
        transient: () => true,
        clock: time.clock,
      },
    ).catch((thrown: unknown) => thrown);
    caller.abort(reason);
    assert.equal(await trying, reason);
  });
});

describe("Retry-After", () => {
  it("is seconds or a date, and nothing else", () => {
    const now = Date.parse("2026-11-24T00:00:00Z");
    assert.equal(retryAfter("3", now), 3000);
    assert.equal(retryAfter("Tue, 24 Nov 2026 00:00:07 GMT", now), 7000);
    assert.equal(retryAfter("Mon, 23 Nov 2026 00:00:00 GMT", now), 0);
    for (const none of [undefined, null, "", "soon"]) assert.equal(retryAfter(none, now), undefined);
  });
});
