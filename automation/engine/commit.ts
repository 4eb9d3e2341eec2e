import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** The checkout's commit, with `-dirty` where files differ from it; undefined outside git. */
export async function commitOf(root: string): Promise<string | undefined> {
  const git = async (...args: string[]) =>
    (await promisify(execFile)("git", args, { cwd: root })).stdout.trim();
  try {
    const [commit, changes] = await Promise.all([
      git("rev-parse", "HEAD"),
      git("status", "--porcelain", "--untracked-files=no"),
    ]);
    return changes ? `${commit}-dirty` : commit;
  } catch {
    // No git, or no commit yet: a release may still be made, it only knows less of its origin.
    return undefined;
  }
}
