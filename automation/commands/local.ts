import { connect } from "../../components/local/client";
import { down } from "../../components/local/down";
import type { ServiceStatus } from "../../components/local/protocol";
import { stateDirectory } from "../../components/local/release";
import { WrongUse } from "../core/errors";
import type { Project } from "../engine/project";

/** `local down | status | logs`: the embedded platform itself. */
export async function local(
  words: readonly string[],
  project: Pick<Project, "root">,
  lines = 50,
): Promise<string[]> {
  const [verb, name, slot] = words;
  const directory = stateDirectory(project.root);
  if (verb !== "down" && verb !== "status" && verb !== "logs")
    throw WrongUse(`local knows down, status and logs, not ${verb ? `"${verb}"` : "nothing"}`);
  if (verb === "down")
    return (await down(directory))
      ? ["The supervisor and everything it ran has ended. The next command that needs it starts it again."]
      : ["Nothing runs for this project."];
  const client = await connect(directory, { start: false }).catch((e) => {
    if ((e as { code?: string }).code === "supervisor-unreachable") return undefined;
    throw e;
  });
  if (!client) return ["No supervisor runs for this project."];
  try {
    switch (verb) {
      case "status":
        return (await client.services()).flatMap(describe);
      case "logs": {
        if (!name) throw WrongUse("name a service, for example: local logs web.prod");
        const status = await client.service(name);
        if (!status) throw WrongUse(`the supervisor knows no service "${name}"`);
        return client.logs(name, slot === "blue" || slot === "green" ? slot : (status.live ?? "blue"), lines);
      }
    }
  } finally {
    client.close();
  }
}

function describe(s: ServiceStatus): string[] {
  const slots = (["blue", "green"] as const).map((slot) => {
    const { state, ready, wanted, artifact, failure } = s.slots[slot];
    return `  ${slot}: ${state} ${ready}/${wanted} ${s.split[slot]} %${artifact ? ` ${artifact}` : ""}${failure ? ` (${failure.code}: ${failure.reason})` : ""}`;
  });
  return [
    `${s.name} ${s.url}${s.live ? `, ${s.live} is live` : ""}${s.run ? `, run ${s.run}` : ""}`,
    ...slots,
  ];
}
