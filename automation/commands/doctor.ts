import { tmpdir } from "node:os";
import { join } from "node:path";
import pc from "picocolors";
import type { Finding } from "../doctor/finding";
import { clock, descriptors, home, node, place, skew, system } from "../doctor/machine";
import { platforms } from "../doctor/platforms";
import { locks, marks, runs } from "../doctor/runs";
import { backend, git, pulumi, secrets } from "../doctor/tools";
import type { Desk } from "../engine/carry";
import { cacheDirectory } from "../toolchain/cache";

/** Looks at everything a promotion needs, and says what is missing and what mends it. Changes nothing. */
export async function doctor(desk: Pick<Desk, "project">): Promise<Finding[]> {
  const { project } = desk;
  const { root, pipeline } = project;
  const own = join(root, ".sluice");
  const { env } = process;
  const cache = cacheDirectory(env);
  const now = Date.now();
  const fromGit = pipeline.services.some((s) => "git" in s.source);
  return [
    node(),
    system(),
    ...descriptors(),
    home(env),
    place("runs", own),
    place("cache", cache),
    place("Pulumi's home", env.PULUMI_HOME || join(env.HOME || "/", ".pulumi")),
    place("temporary files", tmpdir()),
    clock(now, [...(await marks(desk)), ...skew(own)]),
    await git(fromGit),
    ...(await pulumi(project)),
    ...(await backend(project)),
    ...(await secrets(project)),
    ...locks(project.pulumi.backend),
    ...(await runs(desk)),
    ...(await platforms(desk)),
  ];
}

/** The findings for people. */
export function doctorLines(findings: readonly Finding[]): string[] {
  const marks = { good: pc.green("✓"), warning: pc.yellow("!"), bad: pc.red("✗") };
  const count = (state: Finding["state"]) => findings.filter((f) => f.state === state).length;
  return [
    ...findings.flatMap((f) => [
      `${marks[f.state]} ${f.what}: ${f.found}`,
      ...(f.mend ? [`    ${f.mend}`] : []),
    ]),
    `${count("bad")} to mend, ${count("warning")} to know of, ${count("good")} good.`,
  ];
}
