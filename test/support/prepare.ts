import { findPulumi } from "../../automation/toolchain/find";

// Before the suites, so that no test's time limit has to bear a build of the CLI on a machine that has none.
findPulumi({ progress: (line) => process.stderr.write(`${line}\n`) }).then(
  ({ version, path, origin }) => process.stdout.write(`Pulumi ${version} (${origin}): ${path}\n`),
  (e) => {
    process.stderr.write(`${e}\n`);
    process.exitCode = 1;
  },
);
