/**
 * What a person does, step by step, where the hint of an error is not enough; by code. Reports and
 * TROUBLESHOOTING.md both show it.
 */
export const REMEDIES: Readonly<Record<string, readonly string[]>> = {
  "world-moved": [
    "Look at what is there, and what the stack declares: `npm run status`.",
    "If what the stack declares is right, put it back: `npm run pulumi -- up --refresh -s <stack>`.",
    "If the other change was meant, leave it: give the command again, and the new plan begins from there.",
  ],
  "run-open": [
    "See which run, and who drives it: `npm run status`.",
    "Driven by somebody: wait for it, or end it with `npm run abort -- <environment>`.",
    "Driven by nobody: the command that `status` shows goes on with it; `abort` rolls it back.",
    "Only if neither is possible: `npm run pulumi -- config set sluice:force true -s <stack>`, one `up`, and take it out again.",
  ],
  "run-open-other": [
    "Give the command that the message names: it finishes that run.",
    "Or let yours take its place: the same command with `--supersede` rolls the other one back first.",
  ],
  "run-held": [
    "The message says who works on it, where and since when. Another terminal or a CI job is the usual answer: wait.",
    "To end it from here: `npm run abort -- <environment>`. It rolls back by itself.",
    "If that process hangs, end it by its pid (`kill <pid>`); the lock goes with it. Then give your command again.",
  ],
  "run-elsewhere": [
    "The run was begun on another machine or in another clone, where its journal is. Finish or abort it there.",
    "If that place is gone: `npm run abort -- <environment>` here keeps what the handle calls live, gives it all traffic, and closes the run.",
  ],
  "orphans-alive": [
    "Processes of the dead run may still change the world, so nothing goes on beside them. The message has their pids.",
    "End them by pid: `kill <pid>`, then `kill -9 <pid>` if one stays. One in state D waits for a disk: mend that first.",
    "Give the same command again.",
  ],
  "journal-corrupt": [
    "Nothing that follows the damaged line is believed. Keep the file: it is evidence.",
    "Move the run away as the hint says; what is declared is in the stack itself: `npm run status -- <environment>`.",
    "If a run is still open there: `npm run abort -- <environment>` ends it and keeps what is live.",
    "Find out what damaged it (`dmesg`, `df -h`, who edits files under `.sluice`) before the next promotion.",
  ],
  "journal-full": [
    "Traffic was taken off the new slot before the command ended. Nothing more is written until there is room.",
    "Make room: `df -h .sluice`, `df -i .sluice`. Finished runs under `.sluice/runs/<environment>/` may be archived; never the newest.",
    "Give the same command again: it goes on.",
  ],
  "journal-elsewhere": [
    "Best is to go on where it was begun: its journal, inbox and logs are there.",
    "If that machine can be read: copy the run's folder to the same place here, and give the same command. Only one of the two may go on.",
    "If it is gone: the hint's command keeps what the handle calls live, gives it all traffic, and closes the run.",
  ],
  "stack-locked": [
    "Another `pulumi` works on the stack. `npm run status` shows whether it is a run.",
    "If no process does: `npm run pulumi -- cancel -s <stack> --yes` frees it. A run that was cut off frees its own lock when it goes on.",
  ],
  "handle-unreadable": [
    "See it: `npm run pulumi -- stack output handle -s <stack>`; and who wrote it: `npm run pulumi -- stack history -s <stack>`.",
    "Secret: something secret came into the program's outputs. Take it out of `stacks/`; a secret travels as a reference such as `env:TOKEN@1`.",
    "Written by something else: `npm run pulumi -- stack export -s <stack> > state.json` keeps a copy, then go back to the last good state with `npm run pulumi -- stack import --file <good.json> -s <stack>`.",
  ],
  "up-failed": [
    "The message has the engine's own diagnostics; the service's last lines are in the report, and under `logs/` of the run.",
    "See them again: `npm run logs -- <environment>`.",
    "Nothing is declared that did not come up: mend the cause and give the command again.",
  ],
  "port-in-use": [
    "The message names the process. Stop it, or give the service another port: `npm run pulumi -- config set sluice:port <port> -s <stack>`.",
    "If it is a supervisor of another clone, end that one there: `npm run local -- down`.",
  ],
  "crash-loop": [
    "Read its last words: `npm run logs -- <environment>`.",
    "Usual causes: a variable or secret that is missing, a start command that is wrong, a port that is not taken from `PORT`.",
    "Try it outside: `PORT=8080 <start command>` in the source directory.",
  ],
  "health-path": [
    "`health` of the service (stacks/services.ts) names the path.",
    "Try it: start the service by hand, and `curl -i http://127.0.0.1:<port><path>`.",
    "A service that needs longer to start: raise `startSeconds`.",
  ],
  "not-ready": [
    "`npm run logs -- <environment>` has its lines.",
    "A service that needs longer: raise `startSeconds` in stacks/services.ts.",
  ],
  "port-conflict": [
    "The service must listen on the port in `PORT`, and only there; it listens on one of its own.",
  ],
  "start-missing": ["It is `start` in stacks/services.ts: relative to the artifact, or a program on PATH."],
  "verdict-fail": [
    "The report's evidence says which judge failed, with the figures.",
    "Compare both slots in the chart: errors in both mean that something outside the release failed.",
    "Read the failing slot's lines: `npm run logs -- <environment>`. Correct, and promote again with `--build`.",
  ],
  "verdict-inconclusive": [
    "`npm run explain -- <environment>` says what was missing: how many more requests without an error, and how long they take.",
    "Too little traffic for the limits: `npm run simulate -- --rps <requests a second>` compares weights, limits and times.",
    "Set `maxDuration`, the weights or the limits of its analysis in automation/pipeline.ts, and promote again; `onInconclusive` says what becomes of such a release.",
  ],
  "check-failed": [
    "The slot answered, but not as the check wants. The message has what came instead.",
    "A check that is wrong is changed in automation/pipeline.ts.",
  ],
  "gate-closed": [
    "Somebody, or something, said no; the message says why. Nothing moved.",
    "Once the reason is gone, give the same command again.",
  ],
  rejected: ["Talk to them; the same command asks again, with a new run."],
  "task-failed": [
    "A task has effects of its own, which a rollback does not undo: look at what it did (a migration half-way?).",
    "Its output is in the message. Mend it, then give the same command again: a task that came through is not done twice.",
  ],
  "policy-violation": [
    "See all of what the pack says: `npm run pulumi -- preview -s <stack> --policy-pack policies`.",
    "Correct the release. If the rule is wrong, change the pack in a change of its own.",
  ],
  "source-unreachable": [
    "The metrics source is down, so nothing is judged: the run waits, and is then paused with traffic off the new slot.",
    "Bring it back, and give the same command again: the evidence so far counts.",
  ],
  "backend-unreachable": [
    "Look at which backend it is: `npm run doctor`.",
    "Try it: `npm run pulumi -- whoami -v`. Credentials that ran out are the usual cause.",
  ],
  "secret-missing": [
    "The reference names a variable, file or command that gives nothing here. In CI: is the secret handed to this job?",
  ],
  "supervisor-unreachable": [
    "Nothing runs for this clone: `npm run local -- status`. Any `promote`, `rollback` or `pulumi up` starts it.",
    "If it does not start, its last words are in `supervisor.log` in the state directory that the message names.",
  ],
  "lease-unusable": [
    "`.sluice` must be on a disk that is writable and knows file locks; most network file systems do not. `npm run doctor` looks.",
  ],
  "journal-unwritable": [
    "Traffic was taken off the new slot before the command ended. `npm run doctor` says what is wrong with the disk.",
    "Once it can be written, the same command goes on.",
  ],
  unexpected: [
    "Traffic is safe: whoever leaves a run takes unproven slots out first. `npm run status` shows where it stands.",
    "`SLUICE_DEBUG=1` before the same command shows where it happened. Please report it with the run's folder, which holds no secret.",
  ],
};
