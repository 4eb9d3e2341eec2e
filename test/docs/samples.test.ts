import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import ts from "typescript";
import { pages } from "../support/docs";

const ROOT = join(__dirname, "../..");
/** The samples of a page, each as a module; one that imports nothing is a piece of an object in a pipeline. */
function samples(page: string): { name: string; text: string }[] {
  const text = readFileSync(join(ROOT, page), "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = ""], i) => {
    const line = text.slice(0, text.indexOf(code)).split("\n").length;
    // What imports the library is anybody's file; with relative imports it is one of this folder.
    const folder = /from "\./.test(code) ? join(ROOT, dirname(page)) : ROOT;
    const name = join(folder, `${page.replaceAll("/", "-")}-${i}-line-${line}.ts`);
    return { name, text: /^import /m.test(code) ? code : piece(code) };
  });
}

/** A piece that imports nothing: a service, or members of an environment or a service. */
function piece(code: string): string {
  if (code.startsWith("{"))
    return `import type { Service } from "sluice/components";\nexport const piece: Partial<Service>[] = [\n${code}\n];\n`;
  const names = "analysis, errorRate, latency, load, prometheus, queries, scrape";
  return `import { ${names} } from "sluice";\nvoid [${names}];\nexport const piece = {\n${code}\n};\n`;
}

/** Two ways to write a member, one below the other. */
const TWICE = 1117;

describe("The documentation", function () {
  this.timeout(120_000);

  it("shows only code that compiles, as strictly as ours", () => {
    const all = pages().flatMap(samples);
    assert.ok(all.length >= 12, `${all.length} samples`);
    const { config } = ts.readConfigFile(join(ROOT, "tsconfig.json"), ts.sys.readFile);
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
    const texts = new Map(all.map(({ name, text }) => [name, text]));
    const host = ts.createCompilerHost(options);
    const { getSourceFile, fileExists, readFile } = host;
    host.fileExists = (name) => texts.has(name) || fileExists.call(host, name);
    host.readFile = (name) => texts.get(name) ?? readFile.call(host, name);
    host.getSourceFile = (name, version, ...rest) => {
      const text = texts.get(name);
      return text === undefined
        ? getSourceFile.call(host, name, version, ...rest)
        : ts.createSourceFile(name, text, version);
    };
    const program = ts.createProgram({ rootNames: [...texts.keys()], options, host });
    const found = [...texts.keys()].flatMap((name) => {
      const file = program.getSourceFile(name);
      return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
        .filter((d) => d.code !== TWICE)
        .map(
          ({ messageText, start = 0 }) =>
            `${relative(ROOT, name)}: ${ts.flattenDiagnosticMessageText(messageText, "\n")} at ${texts.get(name)?.slice(start, start + 40)}`,
        );
    });
    assert.deepEqual(found, []);
  });

  it("leads only to files and headings that are there", () => {
    for (const page of pages()) {
      const text = readFileSync(join(ROOT, page), "utf8");
      for (const [, to = ""] of text.matchAll(/\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)/g))
        assert.ok(existsSync(join(ROOT, dirname(page), to)), `${page} leads to ${to}`);
    }
  });

  it("has a page for each folder that is extended, which says how", () => {
    for (const folder of ["metrics", "gates", "tasks", "checks", "notify", "targets", "core", "analysis"]) {
      const page = readFileSync(join(ROOT, "automation", folder, "README.md"), "utf8");
      assert.match(page, /^## Your own|^# Platforms/m, folder);
      assert.ok(samples(join("automation", folder, "README.md")).length > 0, folder);
    }
  });
});
