// Plain JavaScript: of many that start at once, those that lose the lock end before anything large is loaded.
const fs = require("node:fs");
const path = require("node:path");
const { parseArgs } = require("node:util");
/** @type {{ tryLock(fd: number): boolean }} */
const { tryLock } = require("fs-native-extensions");
const { LOCKED } = require("./launch");

const { values } = parseArgs({ options: { directory: { type: "string", default: ".sluice/local" } } });
fs.mkdirSync(values.directory, { recursive: true, mode: 0o700 });
const directory = fs.realpathSync(values.directory);
// The kernel frees the lock however this process ends.
const lock = fs.openSync(path.join(directory, "lock"), "a", 0o600);
if (!tryLock(lock)) process.exit(LOCKED);
require("tsx/cjs/api").register();
require("./supervisor").run(directory, lock);
