import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";

const ROOT = join(__dirname, "..", "..");
const FOLDERS = ["components", "automation", "policies", "bin"];

/** An error as its source has it: what is put in when it is made stands in angle brackets. */
export interface Entry {
  code: string;
  /** Relative to the project. */
  file: string;
  message: string;
  hint: string;
}

/** Every error that the sources can make: `error(code, …)` of the catalogue, `failure(code, …)` of plain JavaScript. */
export function catalogue(): Entry[] {
  return sources().flatMap(({ file, source }) => {
    const found: Entry[] = [];
    each(source, (node) => {
      if (!ts.isCallExpression(node) || !ts.isIdentifier(node.expression)) return;
      const [code, second, third] = node.arguments;
      if (!code || !ts.isStringLiteral(code) || !second) return;
      const name = node.expression.text;
      if (name === "error" && ts.isObjectLiteralExpression(second))
        found.push({ code: code.text, file, message: part(second, "message"), hint: part(second, "hint") });
      if (name === "failure" && third)
        found.push({ code: code.text, file, message: words(second), hint: words(third) });
    });
    return found;
  });
}

/** Codes that are given as plain data: why a step or a slot failed. */
export function plainCodes(): { code: string; file: string }[] {
  return sources().flatMap(({ file, source }) => {
    const found: { code: string; file: string }[] = [];
    each(source, (node) => {
      if (!ts.isPropertyAssignment(node) || node.name.getText() !== "code") return;
      if (ts.isStringLiteral(node.initializer)) found.push({ code: node.initializer.text, file });
    });
    return found;
  });
}

/** Every command that is named in backticks, or in a double-quoted or template text, of the sources. */
export function commands(): { file: string; command: string }[] {
  return sources().flatMap(({ file, source }) => {
    const found: { file: string; command: string }[] = [];
    each(source, (node) => {
      const isText = ts.isTemplateExpression(node) || ts.isStringLiteralLike(node);
      if (!isText) return;
      for (const [, command] of words(node).matchAll(/`((?:npm run|npx sluice) [^`]+)`/g))
        found.push({ file, command: command ?? "" });
    });
    return found;
  });
}

/** A file whose code is read, not run. */
interface Source {
  file: string;
  source: ts.SourceFile;
}

let parsed: Source[] | undefined;

function sources(): Source[] {
  parsed ??= FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(ts|js)$/.test(name) && !name.endsWith(".d.ts") && !name.includes("node_modules"))
      .map((name) => join(ROOT, folder, name)),
  )
    .sort()
    .map((path) => ({
      file: relative(ROOT, path),
      source: ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true),
    }));
  return parsed;
}

function each(node: ts.Node, look: (node: ts.Node) => void): void {
  look(node);
  ts.forEachChild(node, (child) => each(child, look));
}

function part(of: ts.ObjectLiteralExpression, name: string): string {
  const found = of.properties.find((p) => p.name?.getText() === name);
  if (!found || !ts.isPropertyAssignment(found) || !ts.isArrowFunction(found.initializer)) return "";
  const { body } = found.initializer;
  if (!ts.isBlock(body)) return words(body);
  const last = body.statements.find((s) => ts.isReturnStatement(s));
  return last?.expression ? words(last.expression) : "";
}

/** A text as a reader sees it before anything is put in. */
function words(node: ts.Expression): string {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node))
    return node.head.text + node.templateSpans.map((s) => `${slot(s.expression)}${s.literal.text}`).join("");
  if (ts.isParenthesizedExpression(node)) return words(node.expression);
  if (ts.isBinaryExpression(node)) {
    if (node.operatorToken.kind === ts.SyntaxKind.PlusToken) return words(node.left) + words(node.right);
    // `given ?? the usual`: the usual one is what can be told.
    return words(node.right);
  }
  // Either may be said; the first is the fuller one.
  if (ts.isConditionalExpression(node)) return words(node.whenTrue) || words(node.whenFalse);
  return slot(node);
}

/** What stands for a value: its name. */
function slot(node: ts.Expression): string {
  if (ts.isIdentifier(node)) return `<${node.text.replace(/^_/, "")}>`;
  if (ts.isParenthesizedExpression(node)) return slot(node.expression);
  if (ts.isConditionalExpression(node) || ts.isTemplateExpression(node) || ts.isStringLiteralLike(node))
    return words(node);
  if (ts.isPropertyAccessExpression(node)) return `<${node.name.text}>`;
  if (ts.isBinaryExpression(node)) return slot(node.left);
  if (ts.isElementAccessExpression(node)) return slot(node.expression);
  if (ts.isCallExpression(node)) {
    const { expression: called } = node;
    // A path taken apart, or an environment read from a name, is called as its function is.
    if (ts.isIdentifier(called)) {
      const named: Record<string, string> = {
        dirname: "folder",
        environmentIn: "environment",
        environmentOf: "environment",
      };
      const known = named[called.text];
      return known ? `<${known}>` : node.arguments[0] ? slot(node.arguments[0]) : `<${called.text}>`;
    }
    if (ts.isPropertyAccessExpression(called)) {
      const [given] = node.arguments;
      return called.getText() === "JSON.stringify" && given ? slot(given) : slot(called.expression);
    }
  }
  if (ts.isNewExpression(node)) return "<when>";
  return "<…>";
}
