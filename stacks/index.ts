import { RunError } from "@pulumi/pulumi/errors";
import { SluiceError } from "../components/errors";
import { declare } from "../components/program";
import { services } from "./services";

/** What `pulumi up` by hand runs: the stack's last release once more. */
async function program() {
  try {
    return await declare({ services });
  } catch (thrown) {
    if (!(thrown instanceof SluiceError)) throw thrown;
    // The CLI prints the message of a RunError alone. Its stack would be inspected for up to a minute.
    throw Object.assign(new RunError(String(thrown)), { stack: "" });
  }
}

export = program;
