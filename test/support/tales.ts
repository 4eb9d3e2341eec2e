import fc from "fast-check";
import type { Tale } from "./story";
import { artifact, type Faults, type How } from "./world";

/** One thing that goes wrong, put into a tale. */
type Mishap = (tale: Tale) => Tale;

const whom = (tale: Tale, i: number) => i % tale.targets.length;

function faulty(tale: Tale, change: Partial<Faults>): Tale {
  return { ...tale, faults: { ...tale.faults, ...change } };
}

const how = fc.constantFrom<How>("before", "between", "after");

// What fails on the way up fails for good, so that a crash can't make it come out otherwise.
const mishap: fc.Arbitrary<Mishap> = fc.oneof(
  fc.record({ i: fc.nat(4), act: fc.constantFrom("deploy", "replace", "shift", "adopt"), how }).map(
    ({ i, act, how: h }): Mishap =>
      (t) =>
        faulty(t, { applies: { ...t.faults.applies, [`t${whom(t, i)}/${act}`]: { how: h, times: 1e9 } } }),
  ),
  fc
    .record({
      i: fc.nat(4),
      how,
      times: fc.integer({ min: 1, max: 2 }),
      act: fc.constantFrom("settle", "restore"),
    })
    .map(
      ({ i, how: h, times, act }): Mishap =>
        (t) => {
          const key = `t${whom(t, i)}`;
          const step = act === "settle" ? `${key}/settle` : `restore:${key}`;
          return faulty(t, { applies: { ...t.faults.applies, [step]: { how: h, times } } });
        },
    ),
  fc.record({ i: fc.nat(4), act: fc.constantFrom("deploy", "replace", "shift", "adopt") }).map(
    ({ i, act }): Mishap =>
      (t) =>
        faulty(t, { policy: [`t${whom(t, i)}/${act}`] }),
  ),
  fc.nat(4).map(
    (i): Mishap =>
      (t) =>
        faulty(t, { bad: [artifact(`new${whom(t, i)}`)] }),
  ),
  fc.nat(4).map(
    (i): Mishap =>
      (t) =>
        faulty(t, { lame: [artifact(`new${whom(t, i)}`)] }),
  ),
  fc.record({ i: fc.nat(4), n: fc.integer({ min: 1, max: 3 }) }).map(
    ({ i, n }): Mishap =>
      (t) =>
        faulty(t, { diverts: { ...t.faults.diverts, [`t${whom(t, i)}`]: n } }),
  ),
  fc.record({ i: fc.nat(4), n: fc.constantFrom(1, 3, 11, 30) }).map(
    ({ i, n }): Mishap =>
      (t) =>
        faulty(t, { down: { ...t.faults.down, [`t${whom(t, i)}`]: n } }),
  ),
  fc.record({ i: fc.nat(4), where: fc.constantFrom("idle", "live") }).map(
    ({ i, where }): Mishap =>
      (t) => ({ ...t, failing: [`t${whom(t, i)}/${where}`] }),
  ),
  fc.nat(4).map(
    (i): Mishap =>
      (t) => ({ ...t, closed: [`t${whom(t, i)}`] }),
  ),
  fc.nat(4).map(
    (i): Mishap =>
      (t) => ({ ...t, broken: [`t${whom(t, i)}`] }),
  ),
  fc.integer({ min: 1, max: 2 }).map(
    (n): Mishap =>
      (t) => ({ ...t, waits: n }),
  ),
);

/** Plans of one to five targets by every strategy, and up to three things that go wrong. */
export const tales: fc.Arbitrary<Tale> = fc
  .record({
    tale: fc.record({
      seed: fc.nat(),
      targets: fc.array(fc.record({ first: fc.boolean() }), { minLength: 1, maxLength: 5 }),
      weights: fc.constantFrom(undefined, [50], [10, 100], [5, 25, 60]),
      rolling: fc.constantFrom(false, false, true),
      soak: fc.constantFrom(0, 0, 20),
      wave: fc.constantFrom(undefined, undefined, 1, 2),
      onFailure: fc.constantFrom<"all" | "wave">("all", "all", "wave"),
      gates: fc.nat(2),
      tasks: fc.nat(2),
      checks: fc.boolean(),
      analysis: fc.boolean(),
      maxParallel: fc.integer({ min: 1, max: 5 }),
      faults: fc.constant({}),
    }),
    mishaps: fc.array(mishap, { maxLength: 3 }),
  })
  .map(({ tale, mishaps }) => mishaps.reduce((t: Tale, change) => change(t), tale));

/** The plainest story: one service that is no first release, by blue-green. */
export const PLAIN: Tale = {
  seed: 1,
  targets: [{ first: false }],
  gates: 0,
  tasks: 0,
  checks: true,
  analysis: false,
  maxParallel: 4,
  faults: {},
};
