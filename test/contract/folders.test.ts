import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FOLDERS, ROWS } from "./rows";
import { context, lives, serve, until } from "./world";

const ROOT = join(__dirname, "../../automation");

describe("The contract table", () => {
  it("has a row for each file in the plugins' folders, and a file for each row", () => {
    const files = FOLDERS.filter((folder) => existsSync(join(ROOT, folder)))
      .flatMap((folder) => readdirSync(join(ROOT, folder)).map((file) => `${folder}/${file}`))
      .filter((file) => file.endsWith(".ts"))
      .sort();
    const rows = [...new Set(ROWS.map((row) => `${row.folder}/${row.file}.ts`))].sort();
    assert.deepEqual(files, rows);
  });
});

describe("Every plugin", () => {
  for (const row of ROWS) {
    const name = `${row.folder}/${row.file} (${row.id})`;

    it(`${name} has an id`, () => assert.match(row.id, /^[a-z][a-z0-9/ -]*$/));

    const { use } = row;
    if (!use) continue;

    it(`${name} stops when the signal fires, and says that it was stopped`, async () => {
      let asked = false;
      const silent = await serve(() => {
        asked = true;
      });
      const ctx = context();
      const scratch = mkdtempSync(join(tmpdir(), "sluice-contract-"));
      const noted = join(scratch, "pid");
      const pid = () => (existsSync(noted) ? Number(readFileSync(noted, "utf8")) : 0);
      const sleep = ["sh", "-c", `echo $$ > ${noted}; exec sleep 600`];
      try {
        const used = use({ silent: silent.url, sleep }, ctx).then(
          () => "ended",
          (thrown: unknown) => thrown,
        );
        await until(() => asked || pid() > 0);
        ctx.abort();
        assert.equal(await used, ctx.signal.reason);
        assert.ok(pid() === 0 || !lives(pid()), "its process was left");
      } finally {
        await silent.close();
        rmSync(scratch, { recursive: true });
      }
    });

    it(`${name} does nothing when the signal has fired before`, async () => {
      let asked = false;
      const silent = await serve(() => {
        asked = true;
      });
      const ctx = context();
      ctx.abort();
      try {
        await assert.rejects(use({ silent: silent.url, sleep: ["sleep", "600"] }, ctx));
        assert.equal(asked, false);
      } finally {
        await silent.close();
      }
    });
  }
});
