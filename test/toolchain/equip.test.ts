import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { equip } from "../../automation/toolchain/equip";

describe("a Pulumi binary and what belongs beside it", () => {
  let home: string;
  let cache: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "sluice equip-"));
    cache = join(home, "cache");
  });
  afterEach(() => {
    rmSync(home, { recursive: true, force: true });
  });

  function binary(name = "pulumi", content = "\x7fELF, so to say"): string {
    mkdirSync(join(home, "bin"), { recursive: true });
    writeFileSync(join(home, "bin", name), content, { mode: 0o700 });
    return join(home, "bin", name);
  }
  const made = () => readdirSync(join(cache, "pulumi")).sort();

  it("is used where it is when it has a language host of its own", () => {
    const path = binary();
    binary("pulumi-language-nodejs");
    assert.equal(equip(path, "3.245.0", cache), path);
    assert.ok(!existsSync(cache));
  });

  it("is used where it is when it is a launcher, which works only there", () => {
    const script = binary("pulumi", "#!/bin/sh\nexec elsewhere\n");
    assert.equal(equip(script, "3.245.0", cache), script);
    const many = binary("mise");
    assert.equal(equip(many, "3.245.0", cache), many);
  });

  it("gets both hosts beside a link of itself, in a directory that is the user's alone", () => {
    const path = binary();
    const equipped = equip(path, "3.245.0", cache);
    assert.equal(statSync(equipped).ino, statSync(path).ino);
    for (const name of ["pulumi-language-nodejs", "pulumi-resource-pulumi-nodejs"]) {
      assert.equal(statSync(join(dirname(equipped), name)).mode & 0o777, 0o700);
    }
    assert.equal(statSync(join(cache, "pulumi")).mode & 0o777, 0o700);
    assert.equal(equip(path, "3.245.0", cache), equipped);
    assert.equal(made().length, 1);
  });

  it("is made whole again when a part of the copy is missing or cut short", () => {
    const path = binary();
    const equipped = equip(path, "3.245.0", cache);
    for (const name of readdirSync(dirname(equipped))) {
      const part = join(dirname(equipped), name);
      const { size } = statSync(part);
      rmSync(part);
      assert.equal(equip(path, "3.245.0", cache), equipped);
      assert.equal(statSync(part).size, size, `${name} was not put back`);
      rmSync(part);
      writeFileSync(part, "");
      equip(path, "3.245.0", cache);
      assert.equal(statSync(part).size, size, `${name} was not made whole`);
    }
    assert.equal(made().length, 1, "nothing half made is left");
  });

  it("gets another directory when it changes, so that an engine running from the first is not disturbed", () => {
    const first = equip(binary(), "3.245.0", cache);
    const second = equip(binary("pulumi", "\x7fELF, another one"), "3.245.0", cache);
    assert.notEqual(first, second);
    assert.ok(existsSync(first));
  });

  it("loses the copies that nobody used for a month when a new one is made", () => {
    const month = 31 * 24 * 3600;
    const old = new Date(Date.now() - month * 1000);
    const unused = dirname(dirname(equip(binary("pulumi", "\x7fELF, unused"), "3.245.0", cache)));
    const used = binary("pulumi2", "\x7fELF, used");
    const kept = dirname(dirname(equip(used, "3.245.0", cache)));
    const foreign = join(cache, "pulumi", "3.245.0");
    mkdirSync(foreign);
    for (const directory of [unused, kept, foreign]) utimesSync(directory, old, old);
    equip(used, "3.245.0", cache);
    equip(binary("pulumi3", "\x7fELF, new"), "3.245.0", cache);
    assert.ok(!existsSync(unused));
    assert.ok(existsSync(kept), "it was used today");
    assert.ok(existsSync(foreign), "what was built is never removed");
  });
});
