import { SLOTS, type Slot } from "../../components/handle";
import { type Client, connect } from "../../components/local/client";
import { down } from "../../components/local/down";
import type { ServiceStatus } from "../../components/local/protocol";
import { stateDirectory } from "../../components/local/release";
import { WrongUse } from "../core/errors";
import type { Project } from "../engine/project";

/** Lines that one answer of the supervisor holds at most. */
const MAX_LINES = 10_000;

/** `local down | status | logs`: the embedded platform itself. With `json` each text is an object of JSON. */
export async function local(
  words: readonly string[],
  project: Pick<Project, "root">,
  lines = 50,
  json = false,
): Promise<string[]> {
  const [verb, name, slot] = words;
  const directory = stateDirectory(project.root);
  switch (verb) {
    case "down": {
      const ended = await down(directory);
      if (json) return [JSON.stringify({ ended })];
      return ended
        ? ["The supervisor and everything it ran has ended. The next command that needs it starts it again."]
        : ["Nothing runs for this project."];
    }
    case "status":
      return withClient(directory, json, async (client) => {
        const services = await client.services();
        return json ? services.map((service) => JSON.stringify(service)) : services.flatMap(describe);
      });
    case "logs": {
      if (!name) throw WrongUse("name a service, for example: local logs web.prod");
      if (slot !== undefined && !isSlot(slot))
        throw WrongUse(`"${slot}" is no slot; there are ${SLOTS.join(" and ")}`);
      if (!Number.isInteger(lines) || lines < 1 || lines > MAX_LINES)
        throw WrongUse(`--lines is a whole number from 1 to ${MAX_LINES}`);
      return withClient(directory, json, async (client) => {
        const status = await client.service(name);
        if (!status) throw WrongUse(`the supervisor knows no service "${name}"`);
        const of = slot ?? status.live ?? "blue";
        const said = await client.logs(name, of, lines);
        return json ? said.map((line) => JSON.stringify({ service: name, slot: of, line })) : said;
      });
    }
    default:
      throw WrongUse(`local knows down, status and logs, not ${verb ? `"${verb}"` : "nothing"}`);
  }
}

/** Looks at what runs; looking starts no supervisor. */
async function withClient(
  directory: string,
  json: boolean,
  work: (client: Client) => Promise<string[]>,
): Promise<string[]> {
  const client = await connect(directory, { start: false }).catch((e) => {
    if ((e as { code?: string }).code === "supervisor-unreachable") return undefined;
    throw e;
  });
  if (!client) return json ? [] : ["No supervisor runs for this project."];
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

function isSlot(text: string): text is Slot {
  return (SLOTS as readonly string[]).includes(text);
}

function describe(s: ServiceStatus): string[] {
  const slots = SLOTS.map((slot) => {
    const { state, ready, wanted, artifact, failure } = s.slots[slot];
    return `  ${slot}: ${state} ${ready}/${wanted} ${s.split[slot]} %${artifact ? ` ${artifact}` : ""}${failure ? ` (${failure.code}: ${failure.reason})` : ""}`;
  });
  return [
    `${s.name} ${s.url}${s.live ? `, ${s.live} is live` : ""}${s.run ? `, run ${s.run}` : ""}`,
    ...slots,
  ];
}
