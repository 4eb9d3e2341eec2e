import type { Desk } from "../../automation/engine/carry";
import { pipeline } from "../../automation/engine/pipeline";
import { blueGreen } from "../../automation/index";

/** What a command that only looks takes of a desk. */
export type Corner = Pick<Desk, "project" | "say" | "leave">;

/** A desk to look from, at a pipeline of dev, staging and prod whose stacks declare nothing. */
export function corner(root: string, names: readonly string[] = ["sample"]): Corner {
  const services = names.map((name) => ({ name, source: { directory: name }, start: ["node"] }));
  const environments = ["dev", "staging", "prod"].map((name) => ({ name, strategy: blueGreen() }));
  return {
    project: {
      root,
      pipeline: pipeline({ services, environments }),
      target: async () => ({ observe: async () => ({ drift: [] }) }),
    } as unknown as Desk["project"],
    say: () => {},
    leave: new AbortController().signal,
  };
}
