import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../../../automation/engine/source";
import type { SluiceError } from "../../../components/errors";
import { isArtifact, parseArtifact } from "../../../components/handle";
import { locateArtifact, storeArtifact, storeRoot } from "../../../components/local/artifact";
import {
  artifactOf,
  checkSource,
  type GitSource,
  originOf,
  readSource,
} from "../../../components/local/origin";
import { createRedactor } from "../../../components/redact";
import { hardDirectory, makeRepository, type Repository, serveGit } from "../../support/repository";
import { fillOf, openStage, SERVER } from "./stage";

let root: string;
let repository: Repository;
let first: string;
const kept = { ...process.env };

function store(
  source: Partial<GitSource> = {},
  more: { log?: (line: string) => void; maxBytes?: number } = {},
) {
  return storeArtifact({ git: repository.url, ...source }, { root: join(root, "project"), ...more });
}

async function refused(work: Promise<unknown>, code: string, text = /./): Promise<SluiceError> {
  let seen: SluiceError | undefined;
  await assert.rejects(work, (thrown: SluiceError) => {
    assert.equal(thrown.code, code, String(thrown));
    assert.match(String(thrown), text);
    assert.ok(thrown.hint);
    seen = thrown;
    return true;
  });
  return seen!;
}

/** What the store holds, drafts included. */
function stored(): string[] {
  return existsSync(storeRoot()) ? readdirSync(storeRoot()).sort() : [];
}

function files(path: string): string[] {
  return (readdirSync(path, { recursive: true }) as string[]).sort();
}

/** Forgets everything that this machine made: the next one has the handle alone. */
function anotherMachine(): void {
  for (const path of [storeRoot(), join(root, "project/.sluice")]) {
    if (!existsSync(path)) continue;
    execFileSync("chmod", ["-R", "u+rwX", path]);
    rmSync(path, { recursive: true });
  }
}

/** The one mirror of the project. */
function mirror(): string {
  const mirrors = join(root, "project/.sluice/local/git");
  return join(mirrors, readdirSync(mirrors).find((name) => name.endsWith(".git"))!);
}

/** Stores in a process of its own. */
function elsewhere(git: string): ChildProcess {
  const module = join(__dirname, "../../../components/local/artifact.ts");
  const script = `require(${JSON.stringify(module)}).storeArtifact(${JSON.stringify({ git })},
    { root: ${JSON.stringify(join(root, "project"))} }).then((made) => console.log(JSON.stringify(made)), (e) => console.log(String(e)))`;
  return spawn(process.execPath, ["--import", "tsx", "-e", script], {
    cwd: join(__dirname, "../../.."),
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function output(child: ChildProcess): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout!) text += chunk;
  return text.trim();
}

async function until(fact: () => boolean): Promise<void> {
  while (!fact()) await new Promise((next) => setTimeout(next, 5));
}

describe("git artifact", () => {
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "sluice-git-"));
    mkdirSync(join(root, "project"));
    process.env.XDG_CACHE_HOME = join(root, "cache");
    repository = makeRepository(join(root, "shop"));
    first = repository.commit({
      "server.js": "console.log(1)",
      "web/lib/b.txt": "b",
      "web/run": "#!/bin/sh\n",
    });
  });

  afterEach(() => {
    for (const name of Object.keys(process.env)) if (!(name in kept)) delete process.env[name];
    Object.assign(process.env, kept);
    execFileSync("chmod", ["-R", "u+rwX", root]);
    rmSync(root, { recursive: true, force: true });
  });

  describe("where it comes from", () => {
    it("is named by repository and commit, and kept read-only by its content, with no history", async () => {
      const made = await store({ ref: "main" });
      assert.equal(made.artifact, `git:${repository.url}@${first}`);
      assert.equal(made.path, join(storeRoot(), made.hash));
      assert.deepEqual(files(made.path), ["server.js", "web", "web/lib", "web/lib/b.txt", "web/run"]);
      assert.equal((lstatSync(join(made.path, "server.js")).mode & 0o777).toString(8), "400");
      // The very tree that a directory of the same content makes.
      rmSync(join(repository.path, ".git"), { recursive: true });
      const plain = await storeArtifact({ directory: repository.path }, { root });
      assert.deepEqual([plain.hash, plain.built], [made.hash, false]);
    });

    it("takes the default branch, a branch, either kind of tag, a full ref and a commit", async () => {
      repository.git("tag", "light");
      repository.git("tag", "--annotate", "--message=x", "v1");
      const second = repository.commit({ "server.js": "console.log(2)" });
      repository.git("branch", "topic/ü");
      const commits = async (...refs: (string | undefined)[]) =>
        Promise.all(refs.map(async (ref) => parseArtifact((await store({ ref })).artifact).digest));
      assert.deepEqual(
        await commits("light", "v1", "refs/tags/v1", first, first.toUpperCase()),
        Array(5).fill(first),
      );
      assert.deepEqual(await commits(undefined, "main", "topic/ü", "refs/heads/main"), Array(4).fill(second));
    });

    it("says which ref is unknown, and which is two", async () => {
      await refused(store({ ref: "nowhere" }), "git-ref-unknown", /nowhere/);
      await refused(store({ ref: first.slice(0, 10) }), "git-ref-unknown", /all its 40 digits/);
      repository.git("branch", "both");
      repository.commit({ more: "1" });
      repository.git("tag", "both");
      await refused(store({ ref: "both" }), "git-ref-ambiguous", /refs\/tags\/both/);
      const empty = makeRepository(join(root, "empty"));
      await refused(store({ git: empty.url }), "git-ref-unknown", /HEAD/);
    });

    it("builds once, in a copy of one directory, without what is ignored", async () => {
      const source = {
        directory: "web",
        build: ["sh", "-c", "ls -A > seen; echo x >> count"],
        ignore: ["run"],
      };
      const made = await store(source);
      const again = await store(source);
      assert.deepEqual([made.built, again.built, again.path], [true, false, made.path]);
      assert.equal(readFileSync(join(made.path, "seen"), "utf8"), "lib\nseen\n");
      assert.equal(readFileSync(join(made.path, "count"), "utf8"), "x\n");
      assert.notEqual((await store({ directory: "web" })).artifact, made.artifact);
    });

    it("says which directory the commit lacks, a file and a link of that name included", async () => {
      repository.commit({ link: { to: "web" } });
      for (const directory of ["nowhere", "server.js", "link", "web/nowhere"])
        await refused(store({ directory }), "git-directory-missing", new RegExp(directory));
    });

    it("is fetched and built again by a machine that has its name alone", async () => {
      const made = await store({
        directory: "web",
        build: ["sh", "-c", `echo built > built; sleep 0.3; echo x >> '${root}/builds'`],
        ignore: ["run"],
      });
      assert.ok(isArtifact(made.artifact));
      anotherMachine();
      const paths = await Promise.all(
        [1, 2, 3].map(() => locateArtifact(made.artifact, join(root, "project"))),
      );
      assert.deepEqual(paths, Array(3).fill(made.path));
      assert.equal(readFileSync(join(made.path, "built"), "utf8"), "built\n");
      assert.equal(readFileSync(join(root, "builds"), "utf8"), "x\nx\n", "one build on each machine");
      assert.deepEqual(stored().length, 2);
    });

    it("needs no repository once it is in the store, and only the mirror where the store was emptied", async () => {
      const { artifact, path } = await store();
      rmSync(repository.path, { recursive: true });
      assert.equal(await locateArtifact(artifact, join(root, "project")), path);
      execFileSync("chmod", ["-R", "u+w", storeRoot()]);
      rmSync(storeRoot(), { recursive: true });
      assert.equal(await locateArtifact(artifact, join(root, "project")), path);
      anotherMachine();
      await refused(
        locateArtifact(artifact, join(root, "project")),
        "git-unreachable",
        /does not (appear|exist)/,
      );
    });

    it("says that a commit is gone once a branch was rewritten", async () => {
      const { artifact } = await store();
      anotherMachine();
      repository.git("commit", "--quiet", "--amend", "--message=other");
      repository.git("reflog", "expire", "--expire=now", "--all");
      repository.git("gc", "--quiet", "--prune=now");
      await refused(locateArtifact(artifact, join(root, "project")), "git-commit-gone", /rewritten/);
      await refused(store({ ref: `${"0".repeat(39)}1` }), "git-commit-gone");
      assert.deepEqual(stored(), []);
    });

    it("takes spaces, quotes, percent and other signs in every path", async () => {
      const hard = hardDirectory(root);
      const other = makeRepository(join(hard, "repo.git"));
      other.commit({ "dir with ü & @#/ö ö.txt": "x" });
      const options = { root: join(hard, "project") };
      const made = await storeArtifact({ git: other.url, directory: "dir with ü & @#" }, options);
      assert.deepEqual(files(made.path), ["ö ö.txt"]);
      assert.ok(isArtifact(made.artifact), made.artifact);
      anotherMachine();
      rmSync(options.root, { recursive: true });
      assert.equal(await locateArtifact(made.artifact, options.root), made.path);
    });

    it("makes the pin of a release", async () => {
      const service = {
        name: "shop",
        source: { git: repository.url, ref: "main" },
        start: ["node", "server.js"],
      };
      const options = { signal: new AbortController().signal, log: () => undefined };
      const { pins } = await build([service], join(root, "project"), options);
      const { artifact, commit, version, repository: from } = pins.shop!;
      assert.deepEqual(
        [artifact, commit, version, from],
        [`git:${repository.url}@${first}`, first, first.slice(0, 12), repository.url],
      );
    });
  });

  describe("its source", () => {
    const urls = [
      "ext::sh -c touch% /tmp/x",
      "ext::http://x/y",
      "fd::17/foo",
      "--upload-pack=touch x",
      "-x",
      "git://example.org/x",
      "ftp://example.org/x",
      "/srv/shop.git",
      "./shop",
      "git@example.org:shop.git",
      "https://token@example.org/x",
      "https://user:hunter2@example.org/x",
      "ssh://git:hunter2@example.org/x",
      "ssh://-oProxyCommand=x/y",
      "ssh://%2DoProxyCommand=x/y",
      "ssh://-l@example.org/y",
      "ssh:///y",
      "https://example.org/x?token=hunter2",
      "https://example.org/x#main",
      "https://example.org",
      "https://example.org/",
      "file://host/x",
      "file:///",
      "file:///a%0ab",
      "https://example.org/a\nb",
      "",
    ];
    for (const git of urls)
      it(`refuses the url ${JSON.stringify(git)}`, async () => {
        const thrown = await refused(store({ git }), "git-source-refused", /its url/);
        assert.doesNotMatch(thrown.message, /hunter2|token@/);
        await refused(
          locateArtifact(`git:${git.replaceAll("@", "%40")}@${first}`, root),
          git.match(/[\s]/) || !git ? "malformed-artifact" : "git-source-refused",
        );
        assert.deepEqual(stored(), []);
      });

    for (const ref of [
      "-x",
      "--upload-pack=x",
      "a..b",
      "a b",
      "a^",
      "a:b",
      "a*",
      "[a]",
      "x.lock",
      "/a",
      "a/",
      "",
      "a\nb",
      "a".repeat(64),
    ])
      it(`refuses the ref ${JSON.stringify(ref)}`, () =>
        refused(store({ ref }), "git-source-refused", /its ref/));

    for (const directory of ["-x", "..", "a/../../b", "/etc", "a//b", "", ".git", "a/.GIT/b", "a\nb"])
      it(`refuses the directory ${JSON.stringify(directory)}`, async () => {
        await refused(store({ directory }), "git-source-refused", /its directory/);
      });

    const wrong: [string, unknown, RegExp][] = [
      ["a ref of a directory", { directory: "app", ref: "main" }, /ref/],
      ["a misspelt member", { git: "https://example.org/x", branch: "main" }, /branch/],
      ["a build that is a text", { directory: "app", build: "npm ci" }, /source\.build/],
      ["a build of nothing", { directory: "app", build: [] }, /source\.build/],
      ["nothing", undefined, /source/],
      ["a text", "app", /source/],
    ];
    for (const [what, source, text] of wrong)
      it(`names the service and the member where it is given ${what}`, () => {
        assert.throws(
          () => checkSource(source, "stacks/services.ts, service shop"),
          (thrown: SluiceError) =>
            thrown.code === "bad-config" && text.test(thrown.message) && /service shop/.test(thrown.message),
        );
      });

    it("comes out of an artifact as it went in, and no redactor takes it for a password", () => {
      const sources: GitSource[] = [
        { git: "https://example.org:8443/a/b%20c.git" },
        {
          git: "ssh://git@example.org:2222/~/a.git",
          directory: "x y/ü@z",
          build: ["npm", "run build", "--", "a=b&c"],
        },
        { git: "ssh://example.org/a@b.git", ignore: ["b", "a"] },
        { git: "file:///srv/a@b/c#d%20e".replace("#", "%23"), directory: "a/b/" },
      ];
      const redact = createRedactor([]);
      for (const source of sources) {
        const { origin } = readSource(source);
        const artifact = artifactOf(origin, first);
        assert.ok(isArtifact(artifact), artifact);
        assert.equal(redact(artifact), artifact);
        const back = originOf(parseArtifact(artifact).source);
        assert.equal(artifactOf(back, first), artifact);
        assert.deepEqual([back.directory, back.build], [origin.directory, origin.build]);
        assert.equal(decodeURIComponent(back.url), decodeURIComponent(origin.url));
      }
    });
  });

  describe("a repository that means harm", () => {
    it("gets no link out of the tree, which is named", async () => {
      for (const to of ["/etc/passwd", "../../outside", "web/../../x"]) {
        repository.commit({ [`web/link${to.length}`]: { to } });
        await refused(store({ directory: "web" }), "artifact-escapes", new RegExp(`link${to.length}`));
        assert.deepEqual(stored(), []);
        repository.commit({ [`web/link${to.length}`]: null });
      }
      repository.commit({ "web/fine": { to: "lib/b.txt" } });
      assert.equal(readFileSync(join((await store({ directory: "web" })).path, "fine"), "utf8"), "b");
    });

    it("gets no hook, filter or conversion run, and large file pointers stay what they are", async () => {
      const mark = join(root, "ran");
      const hook = `#!/bin/sh\necho "$0" >> '${mark}'\n`;
      for (const name of ["post-checkout", "reference-transaction", "pre-auto-gc", "post-index-change"]) {
        writeFileSync(join(repository.path, ".git/hooks", name), hook, { mode: 0o755 });
        chmodSync(join(repository.path, ".git/hooks", name), 0o755);
      }
      const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n";
      const attributes = "* filter=evil text eol=crlf ident\n*.bin filter=lfs diff=lfs merge=lfs -text\n";
      repository.commit({ ".gitattributes": attributes, "large.bin": pointer, id: "$Id$\n" });
      rmSync(mark, { force: true });
      // Settings of this user that would make git run something.
      const home = join(root, "home");
      mkdirSync(join(home, ".config/git"), { recursive: true });
      const settings = `[filter "evil"]\n smudge = touch ${mark}; cat\n process = touch ${mark}\n required = true
[filter "lfs"]\n smudge = touch ${mark}; cat\n[core]\n hooksPath = ${join(repository.path, ".git/hooks")}\n fsmonitor = touch ${mark}
[credential]\n helper = "!touch ${mark}"\n[url "ext::touch ${mark}"]\n insteadOf = file://\n[protocol "ext"]\n allow = always\n`;
      writeFileSync(join(home, ".gitconfig"), settings);
      writeFileSync(join(root, "config"), settings);
      process.env.HOME = home;
      Object.assign(process.env, {
        GIT_CONFIG_GLOBAL: join(root, "config"),
        GIT_CONFIG_COUNT: "1",
        GIT_CONFIG_KEY_0: "core.hooksPath",
        GIT_CONFIG_VALUE_0: join(repository.path, ".git/hooks"),
        GIT_DIR: "/nonexistent",
        GIT_EXTERNAL_DIFF: `touch ${mark}`,
        GIT_SSH_COMMAND: `touch ${mark}`,
        GIT_TRACE: join(root, "trace"),
      });
      const made = await store();
      assert.equal(readFileSync(join(made.path, "large.bin"), "utf8"), pointer);
      assert.equal(readFileSync(join(made.path, "id"), "utf8"), "$Id$\n");
      assert.deepEqual([existsSync(mark), existsSync(join(root, "trace"))], [false, false]);
    });

    it("gets no submodule fetched, and says that it is left out", async () => {
      const inner = makeRepository(join(root, "inner"));
      inner.commit({ secret: "x" });
      repository.git("submodule", "--quiet", "add", inner.url, "sub module");
      repository.commit({});
      const lines: string[] = [];
      const made = await store({}, { log: (line) => lines.push(line) });
      assert.equal(existsSync(join(made.path, "sub module")), false);
      assert.ok(
        lines.some((line) => /sub module is a submodule/.test(line)),
        lines.join("\n"),
      );
    });

    it("gets no .git and no .sluice into the tree", async () => {
      repository.commit({ "web/.sluice/state": "x" });
      assert.equal(existsSync(join((await store({ directory: "web" })).path, ".sluice")), false);
      // Made with plumbing, for git itself refuses to.
      const blob = execFileSync("git", ["hash-object", "-w", "--stdin"], {
        cwd: repository.path,
        input: "x",
      });
      const tree = (entry: string): string =>
        execFileSync("git", ["mktree"], {
          cwd: repository.path,
          input: `${entry}\n`,
          encoding: "utf8",
        }).trim();
      const evil = tree(`040000 tree ${tree(`100755 blob ${String(blob).trim()}\tpost-checkout`)}\t.git`);
      const commit = repository.git("commit-tree", evil, "-m", "x");
      repository.git("update-ref", "refs/heads/evil", commit);
      await refused(store({ ref: "evil" }), "git-unreachable", /hasDotgit|\.git/);
      assert.deepEqual(
        stored().filter((name) => name.startsWith(".")),
        [],
      );
    });

    it("gets no larger than the bound, small as it may be packed", async () => {
      const many = Array.from({ length: 30 }, (_, i) => [`big/${i}`, "x".repeat(100_000)] as const);
      repository.commit(Object.fromEntries(many));
      await refused(store({}, { maxBytes: 1_000_000 }), "git-too-large", /1000000/);
      // What can't be packed is cut off while it is being fetched.
      const noise = repository.commit({ big: null, noise: randomBytes(1_000_000).toString("base64") });
      await refused(store({}, { maxBytes: 1_000_000 }), "git-too-large", /1000000/);
      const here = () => execFileSync("git", ["cat-file", "-e", noise], { cwd: mirror(), stdio: "ignore" });
      assert.throws(here, "it was fetched as a whole");
      assert.deepEqual(stored(), []);
    });

    it("gets no file whose name is not UTF-8 into the tree, unless it is ignored with its directory", async () => {
      mkdirSync(join(repository.path, "odd"));
      writeFileSync(
        Buffer.concat([Buffer.from(join(repository.path, "odd/")), Buffer.from([0xff, 0x61])]),
        "x",
      );
      repository.commit({});
      await refused(store(), "artifact-special-file", /UTF-8/);
      assert.equal(existsSync(join((await store({ ignore: ["odd"] })).path, "odd")), false);
    });
  });

  describe("over http", () => {
    it("comes to the same, fetches the one commit, and asks nothing once it is stored", async () => {
      for (let i = 0; i < 5; i++) repository.commit({ old: `${i}`.repeat(1000) });
      const server = await serveGit(root);
      try {
        const lines: string[] = [];
        const made = await store(
          { git: `${server.url}/shop/.git`, ref: "main" },
          { log: (line) => lines.push(line) },
        );
        assert.equal(made.hash, (await store()).hash);
        assert.ok(lines.some((line) => line.startsWith("fetching ")));
        const before = server.requests.length;
        assert.equal(await locateArtifact(made.artifact, join(root, "project")), made.path);
        assert.equal(server.requests.length, before);
        const count = execFileSync("git", ["rev-list", "--count", "--all"], {
          cwd: mirror(),
          encoding: "utf8",
        });
        assert.equal(count.trim(), "1");
        assert.equal((lstatSync(join(mirror(), "..")).mode & 0o777).toString(8), "700");
      } finally {
        await server.close();
      }
    });

    it("is fetched with its branch from a server too old to be asked for one commit", async () => {
      repository.commit({ more: "1" });
      const server = await serveGit(root, (request) => {
        delete request.headers["git-protocol"];
        return false;
      });
      try {
        const git = `${server.url}/shop/.git`;
        assert.deepEqual(files((await store({ git, ref: first })).path).includes("more"), false);
        await refused(store({ git, ref: `${"0".repeat(39)}1` }), "git-commit-gone");
        assert.deepEqual(files((await store({ git })).path).includes("more"), true);
      } finally {
        await server.close();
      }
    });

    it("never asks for a password, takes it from ~/.netrc, and never shows it", async () => {
      const wanted = `Basic ${Buffer.from("reader:hunter2").toString("base64")}`;
      const server = await serveGit(root, (request, response) => {
        if (request.headers.authorization === wanted) return false;
        response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
        return true;
      });
      try {
        const home = join(root, "home");
        mkdirSync(home);
        process.env.HOME = home;
        process.env.GIT_ASKPASS = join(root, "ask");
        writeFileSync(join(root, "ask"), `#!/bin/sh\ntouch '${join(root, "asked")}'\n`, { mode: 0o755 });
        const git = `${server.url}/shop/.git`;
        await refused(store({ git }), "git-unreachable", /\.netrc/);
        writeFileSync(join(home, ".netrc"), "machine 127.0.0.1 login reader password wrong-hunter3\n", {
          mode: 0o600,
        });
        const thrown = await refused(store({ git }), "git-unreachable");
        assert.doesNotMatch(String(thrown), /hunter/);
        writeFileSync(join(home, ".netrc"), "machine 127.0.0.1 login reader password hunter2\n", {
          mode: 0o600,
        });
        const made = await store({ git });
        assert.doesNotMatch(made.artifact, /hunter/);
        assert.equal(existsSync(join(root, "asked")), false);
      } finally {
        await server.close();
      }
    });

    it("says what a server answered that is no repository, or that is not there", async () => {
      const server = await serveGit(root, (request, response) => {
        if (!request.url?.startsWith("/web")) return false;
        response.end("<html>Welcome</html>");
        return true;
      });
      await refused(store({ git: `${server.url}/nowhere.git` }), "git-unreachable", /not found/);
      // git takes a page for a repository that lists nothing.
      await refused(store({ git: `${server.url}/web.git` }), "git-ref-unknown", /HEAD/);
      await server.close();
      await refused(store({ git: `${server.url}/shop/.git` }), "git-unreachable", /connect|refused/i);
    });

    it("is fetched after a kill -9 in the middle, and the orphan that was left holds it for nobody", async () => {
      let stall = true;
      let stalled = false;
      const server = await serveGit(root, (request) => {
        // The pack is asked for, and never comes.
        if (!stall || request.method !== "POST" || !stored().some((name) => name.startsWith(".draft-")))
          return false;
        stalled = true;
        return true;
      });
      try {
        const git = `${server.url}/shop/.git`;
        const child = elsewhere(git);
        await until(() => stalled);
        child.kill("SIGKILL");
        await once(child, "close");
        stall = false;
        // What a git leaves that was killed while it wrote.
        for (const name of ["shallow.lock", "config.lock", "packed-refs.lock", "objects/pack/tmp_pack_x"])
          writeFileSync(join(mirror(), name), "torn");
        const lines: string[] = [];
        const made = await store({ git }, { log: (line) => lines.push(line) });
        assert.equal(made.built, true);
        assert.doesNotMatch(lines.join("\n"), /damaged/);
        assert.deepEqual(
          stored().filter((name) => name.startsWith(".draft-")),
          [],
        );
        assert.equal(
          files(mirror()).some((name) => /\.lock$|tmp_/.test(name)),
          false,
        );
      } finally {
        await server.close();
      }
    });

    it("is fetched once by two processes that want it at the same time", async () => {
      const server = await serveGit(root);
      try {
        const git = `${server.url}/shop/.git`;
        const [a, b] = (await Promise.all([elsewhere(git), elsewhere(git)].map(output))).map((text) =>
          JSON.parse(text),
        );
        assert.equal(a.path, b.path);
        const packs = server.requests.filter((line) => line.startsWith("POST"));
        // Each lists the refs, and one of them fetches.
        assert.ok(packs.length <= 4, packs.join("\n"));
      } finally {
        await server.close();
      }
    });
  });

  it("is fetched over ssh, which asks nobody, with the user in its name", async () => {
    const bin = join(root, "bin");
    mkdirSync(bin);
    const ssh = (script: string) =>
      writeFileSync(join(bin, "ssh"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    process.env.PATH = `${bin}:${process.env.PATH}`;
    // Stands for the other machine: its last argument is what that is asked to run.
    ssh(`printf '%s\\n' "$@" > '${root}/arguments'\nfor last; do :; done\neval "$last"`);
    const git = `ssh://git@example.org:2222${repository.path}`;
    const { artifact, hash } = await store({ git, ref: "main" });
    assert.equal(artifact, `git:${git.replace("@", "%40")}@${first}`);
    assert.equal(hash, (await store()).hash);
    const given = readFileSync(join(root, "arguments"), "utf8").split("\n");
    for (const word of ["BatchMode=yes", "git@example.org", "2222"])
      assert.ok(given.includes(word), given.join(" "));
    anotherMachine();
    assert.ok(await locateArtifact(artifact, join(root, "project")));
    anotherMachine();
    ssh("printf '\\033[31mHost key verification failed.\\n' >&2; exit 255");
    const thrown = await refused(
      store({ git }),
      "git-unreachable",
      /Host key verification failed.*known_hosts/s,
    );
    assert.doesNotMatch(thrown.message, /\p{Cc}/u, "it would steer the terminal");
  });

  it("is fetched, built and run by a supervisor that has the handle alone", async () => {
    repository.commit({ "web/server.js": SERVER });
    const { artifact } = await store({ directory: "web", build: ["sh", "-c", "mv server.js built.js"] });
    anotherMachine();
    const stage = openStage({ XDG_CACHE_HOME: process.env.XDG_CACHE_HOME! });
    try {
      const client = await stage.connect();
      const change = { arguments: ["node", "built.js"] };
      await client.fill("web.test", "blue", fillOf(artifact, stage.root, "one", change));
      assert.deepEqual(await client.ready("web.test", "blue", 15), { ready: true });
    } finally {
      await stage.close();
    }
  });

  it("makes a damaged mirror again", async () => {
    await store();
    for (const name of files(mirror()).filter((path) => /\.(pack|idx)$|^objects\/..\/./.test(path))) {
      chmodSync(join(mirror(), name), 0o600);
      writeFileSync(join(mirror(), name), "torn");
    }
    execFileSync("chmod", ["-R", "u+w", storeRoot()]);
    rmSync(storeRoot(), { recursive: true });
    const lines: string[] = [];
    assert.equal((await store({}, { log: (line) => lines.push(line) })).built, true);
    assert.match(lines.join("\n"), /damaged/);
  });

  it("says that git is missing", async () => {
    process.env.PATH = join(root, "nothing");
    await refused(store(), "git-missing", /apt-get install git/);
  });

  it("stops when it is aborted, with all that git started", async () => {
    let asked = false;
    const server = await serveGit(root, () => {
      asked = true;
      return true;
    });
    const stop = new AbortController();
    const work = storeArtifact(
      { git: `${server.url}/shop/.git` },
      { root: join(root, "project"), signal: stop.signal },
    );
    await Promise.race([until(() => asked), work]);
    stop.abort();
    await assert.rejects(work, { name: "AbortError" });
    await server.close();
    assert.deepEqual(stored(), []);
  });
});
