import { findPulumi } from "../../automation/toolchain/find";
import { findMoto } from "./moto";
import { findPrometheus } from "./prometheus";

// Before the suites, so that no test's time limit has to bear a download or a build on a machine that has nothing.
async function prepare(): Promise<void> {
  const pulumi = await findPulumi({ progress: (line) => process.stderr.write(`${line}\n`) });
  process.stdout.write(`Pulumi ${pulumi.version} (${pulumi.origin}): ${pulumi.path}\n`);
  const prometheus = findPrometheus();
  process.stdout.write(`Prometheus: ${"binary" in prometheus ? prometheus.binary : prometheus.reason}\n`);
  process.stdout.write(`moto: ${findMoto()}\n`);
}

prepare().catch((e) => {
  process.stderr.write(`${e}\n`);
  process.exitCode = 1;
});
