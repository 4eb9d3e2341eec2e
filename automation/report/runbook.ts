import { REMEDIES } from "./remedies";
import type { Report } from "./schema";

type Next = Report["next"][number];

/** What a person does now: by outcome, then by what failed. */
export function runbook(told: Omit<Report, "next">): Next[] {
  const { environment, request, outcome } = told;
  const again = `npm run ${request}`;
  const status = `npm run status -- ${environment}`;
  const abort = `npm run abort -- ${environment}`;
  const cause = causes(told);
  switch (outcome) {
    case "promoted":
      return [
        { do: "Nothing: it is live, and proved." },
        // A first release has nothing to go back to.
        ...(told.targets.some((t) => t.from)
          ? [{ do: "To go back to the release before:", run: `npm run rollback -- ${environment}` }]
          : []),
      ];
    case "rolled-back":
      return [{ do: "Users are served by what was live before; there is no hurry." }, ...cause];
    case "refused":
      return [{ do: "Nothing moved." }, ...cause, { do: "Then give the same command again:", run: again }];
    case "paused":
      return [
        { do: `${safe(told)} To go on, with the evidence so far:`, run: again },
        ...answer(told),
        { do: "Or roll it back:", run: abort },
      ];
    case "stuck":
      return [
        { do: "See who serves users now, and what is declared:", run: status },
        ...cause,
        { do: "Once the cause is mended, go on where it stopped:", run: again },
        {
          do: "If you put it right by hand instead, write that down; what the handle calls live stays:",
          run: `npm run resolve -- ${environment} --reason "<what was done>"`,
        },
      ];
    case "resolved":
      return [
        { do: "See that what is declared is what should be live:", run: status },
        { do: "The release was not proved here; promote it again if it is still wanted.", run: again },
      ];
    case "open":
      // What has begun to go back is never turned round again.
      if (told.rollback)
        return [
          { do: "It is being rolled back. See who drives it:", run: status },
          { do: "If nobody does, it was cut off; this finishes the rollback:", run: again },
        ];
      return [
        { do: "See who drives it:", run: status },
        ...answer(told),
        { do: "If nobody does, it was cut off; this goes on with it:", run: again },
        { do: "To roll it back instead, whoever drives it:", run: abort },
      ];
    default:
      throw outcome satisfies never;
  }
}

/** In place there is no traffic to take back, and the report must not say that there was. */
function safe({ targets }: Omit<Report, "next">): string {
  return targets.some((t) => t.mode === "in-place")
    ? "What was rolled out in place serves users, unproved and unwatched."
    : "Traffic is off what is not proved.";
}

/** What mends the failure: its own hint first, then what is known of its code. */
function causes({ failure, environment, targets }: Omit<Report, "next">): Next[] {
  if (!failure) return [];
  const { code, hint, target } = failure;
  const of = targets.find((t) => t.key === target);
  const remedies = (REMEDIES[code] ?? []).map((text) => ({
    do: text.replaceAll("<environment>", environment).replaceAll("<stack>", of?.key ?? "<stack>"),
  }));
  return [...(hint ? [{ do: hint }] : []), ...remedies];
}

/** A step that waits for people says so in words; where it is a gate or a hold, they are told how to answer. */
function answer({ steps, environment }: Omit<Report, "next">): Next[] {
  const asks = steps.some(
    (s) =>
      (s.status === "waiting" && s.act === "gate") ||
      ((s.status === "started" || s.status === "waiting") && s.act === "hold"),
  );
  if (!asks) return [];
  return [
    { do: "If it waits for a person's yes:", run: `npm run approve -- ${environment}` },
    { do: "Or no:", run: `npm run reject -- ${environment}` },
  ];
}
