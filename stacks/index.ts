import { RunError } from "@pulumi/pulumi/errors";
import { SluiceError } from "../components/errors";
import { declare } from "../components/program";
import { services } from "./services";

/** What `pulumi up` by hand runs: the stack's last release once more. */
async function program() {
  try {
    return await declare({ services });
  } catch (thrown) {
    // The CLI prints the message of a RunError alone, and the stack of anything else.
    throw thrown instanceof SluiceError ? new RunError(String(thrown)) : thrown;
  }
}

export = program;
