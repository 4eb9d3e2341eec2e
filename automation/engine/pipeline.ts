import { BadConfig } from "../../components/errors";
import type { Service } from "../../components/release";
import { UnknownEnvironment, UnknownService } from "../core/errors";
import type { TargetKey } from "../core/model";
import type { Environment } from "./run";

/** What runs where, by which strategy: plain values. */
export interface Pipeline {
  services: readonly Service[];
  /** In the order a release takes them. */
  environments: readonly Environment[];
}

/** Checks a pipeline. Throws `bad-config`. */
export function pipeline(value: Pipeline): Pipeline {
  unique("services", value.services);
  unique("environments", value.environments);
  for (const environment of value.environments) {
    const ids = [
      ...(environment.gates ?? []),
      ...(environment.tasks ?? []),
      ...(environment.checks ?? []),
    ].map((x) => x.id);
    const twice = ids.find((id, i) => ids.indexOf(id) !== i);
    if (twice)
      throw BadConfig(
        `automation/pipeline.ts, environment ${environment.name}`,
        `two things are called "${twice}".`,
      );
    const stray = environment.waves?.flat().find((name) => !value.services.some((s) => s.name === name));
    if (stray !== undefined)
      throw BadConfig(
        `automation/pipeline.ts, environment ${environment.name}`,
        `its waves name "${stray}", which is no service.`,
      );
    const again = environment.waves?.flat().find((name, i, all) => all.indexOf(name) !== i);
    if (again !== undefined)
      throw BadConfig(
        `automation/pipeline.ts, environment ${environment.name}`,
        `"${again}" is in two waves.`,
      );
    // What is run is not type-checked: options in the place of what is made of them would have no times at all.
    if (environment.analysis && typeof environment.analysis.stepBake !== "number")
      throw BadConfig(
        `automation/pipeline.ts, environment ${environment.name}`,
        "its analysis is no analysis; write `analysis: analysis({ source, judges })`.",
      );
  }
  return value;
}

function unique(what: string, list: readonly { name: string }[]): void {
  if (list.length === 0) throw BadConfig("automation/pipeline.ts", `there are no ${what}.`);
  for (const { name } of list)
    if (!/^[a-z][a-z0-9-]{0,39}$/.test(name))
      throw BadConfig(
        "automation/pipeline.ts",
        `"${name}" in ${what} must be lower-case letters, digits and dashes.`,
      );
  const twice = list.find((x, i) => list.findIndex((y) => y.name === x.name) !== i);
  if (twice) throw BadConfig("automation/pipeline.ts", `two ${what} are called "${twice.name}".`);
}

/** The environment of that name. Throws `unknown-environment`, which lists the known ones. */
export function environmentOf(value: Pipeline, name: string): Environment {
  const found = value.environments.find((e) => e.name === name);
  if (!found)
    throw UnknownEnvironment(
      name,
      value.environments.map((e) => e.name),
    );
  return found;
}

/** The services asked for: all, or the one that was named. Throws `unknown-service`. */
export function servicesOf(value: Pipeline, name?: string): readonly Service[] {
  if (name === undefined) return value.services;
  const found = value.services.filter((s) => s.name === name);
  if (found.length === 0)
    throw UnknownService(
      name,
      value.services.map((s) => s.name),
    );
  return found;
}

/** The stack's name: the environment's where there is one service, else `<service>.<environment>`. */
export function keyOf(value: Pipeline, service: Service, environment: string): TargetKey {
  return value.services.length === 1 ? environment : `${service.name}.${environment}`;
}
