// `npm run pulumi`, without the command line around it.
import { runPulumi } from "../../../automation/toolchain/pulumi";

const [root, ...args] = process.argv.slice(2) as [string, ...string[]];
runPulumi(args, root).then((code) => process.exit(code));
