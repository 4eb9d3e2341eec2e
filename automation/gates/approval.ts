import { type Duration, seconds, within } from "../analysis/units";
import { type Answer, person } from "../core/model";
import type { Asked, Gate, GateAnswer } from "../core/ports";

export interface ApprovalOptions {
  /** @default "approval" */
  id?: string;
  /** How many people have to approve. @default 1 */
  quorum?: number;
  /** How long it is waited for them; then the gate is closed. @default "24h" */
  expires?: Duration;
  /** Whether who began the run may be one of them. @default false */
  requester?: boolean;
}

/**
 * A gate that people open: `approve`, `reject`. Who they are is what their machine says, unverified. An approval
 * is for one plan: it counts for no other, so it lapses when the plan is made anew.
 */
export function approval(options: ApprovalOptions = {}): Gate {
  const { id = "approval", requester = false } = options;
  const quorum = within(`approval ${id}: quorum`, options.quorum ?? 1, 1, 100, true);
  const patience = seconds(`approval ${id}: expires`, options.expires ?? "24h") * 1000;
  return {
    id,
    people: { quorum, requester },
    async ask({ asked, environment }, ctx) {
      if (!asked)
        return { answer: "wait", reason: `${people(quorum)} will have to approve`, retryAfter: patience };
      return count(asked, environment, ctx.now());
    },
  };

  function count(asked: Asked, environment: string, now: number): GateAnswer {
    // What was said before this was asked was an answer to something else.
    const answers = asked.answers.filter((a) => a.plan === asked.plan && a.at >= asked.since);
    const no = answers.find((a) => a.answer === "reject");
    if (no) return { answer: "closed", reason: `${no.who} (unverified) rejected it${because(no)}` };
    const end = asked.since + patience;
    const timely = answers.filter((a) => a.at <= end);
    const said = new Set(timely.map((a) => person(a.who)));
    const own = !requester && said.delete(person(asked.actor));
    if (said.size >= quorum) return { answer: "open" };
    const have = `${said.size} of ${people(quorum)} approved it`;
    if (now >= end)
      return {
        answer: "closed",
        reason: `${have} within ${Math.round(patience / 60_000)} min`,
        hint: "Give the command again: it makes a new plan, and asks for approval anew.",
      };
    const note = own ? `; ${asked.actor} began the run, so that approval does not count` : "";
    return {
      answer: "wait",
      reason: `${have}${note}: \`npm run approve -- ${environment}\` or \`npm run reject -- ${environment}\``,
      retryAfter: end - now,
    };
  }
}

function because(answer: Answer): string {
  return answer.reason ? `: ${answer.reason}` : "";
}

function people(quorum: number): string {
  return quorum === 1 ? "1 person" : `${quorum} people`;
}
