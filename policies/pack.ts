import { PolicyPack, type ResourceValidationPolicy, type StackValidationPolicy } from "@pulumi/policy";
import type { Handle } from "../components/handle";
import { RELEASE_TYPE, type Rule, type RuleConfig, rules } from "./rules";

/** Said of every other resource, so that `passed` in a summary means a release that was judged. */
const OTHER = `It judges ${RELEASE_TYPE} alone.`;

/** A rule as a policy on every Release: asked when the program registers it, before anything below it exists. */
function onRelease(rule: Rule): ResourceValidationPolicy {
  return {
    name: rule.name,
    description: rule.description,
    enforcementLevel: "mandatory",
    ...(rule.config ? { configSchema: { properties: rule.config } } : {}),
    validateResource(args, report) {
      if (args.type !== RELEASE_TYPE) return args.notApplicable(OTHER);
      const handle = plain(args.props);
      if (handle) for (const violation of rule.check(handle, args.getConfig<RuleConfig>())) report(violation);
    },
  };
}

/** Without this a Release whose handle can't be seen would pass every rule. */
const handlePlain: ResourceValidationPolicy = {
  name: "handle-plain",
  description: "A Release shows its handle to the policies as plain data.",
  enforcementLevel: "mandatory",
  validateResource(args, report) {
    if (args.type !== RELEASE_TYPE) return args.notApplicable(OTHER);
    if (plain(args.props)) return;
    report(
      "Its input `handle` is missing, or has parts that are not known before something else is created, so no rule can " +
        "judge it in time. Pass the handle itself, not an output of another resource.",
    );
  },
};

/** Without this a pack pointed at another program would find nothing wrong. */
const releaseDeclared: StackValidationPolicy = {
  name: "release-declared",
  description: "The stack declares a Release.",
  enforcementLevel: "mandatory",
  validateStack(args, report) {
    if (args.resources.some((resource) => resource.type === RELEASE_TYPE)) return;
    report(
      `No resource of type ${RELEASE_TYPE} is in this stack, so the rules had nothing to judge. ` +
        "Declare a Release, or leave this policy pack out.",
    );
  },
};

/** The handle among a resource's inputs; undefined where it is none, or not all of it is known. */
function plain(props: Record<string, unknown>): Handle | undefined {
  try {
    // Reading an unknown throws, however deep it lies: so read all of it at once.
    const handle: unknown = JSON.parse(JSON.stringify(props.handle ?? null));
    return handle !== null && typeof handle === "object" && "slots" in handle
      ? (handle as Handle)
      : undefined;
  } catch {
    return undefined;
  }
}

new PolicyPack("sluice", { policies: [handlePlain, ...rules.map(onRelease), releaseDeclared] });
