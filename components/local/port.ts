import { readdir, readFile, readlink } from "node:fs/promises";
import { error } from "../errors";

export const PortInUse = error("port-in-use", {
  message: (port: number, who: string) => `Port ${port} on 127.0.0.1 is taken by ${who}.`,
  hint: (port: number) =>
    `Stop what listens there (\`ss -ltnp 'sport = :${port}'\` shows it), or give the service another port.`,
});

export const PortRefused = error("port-refused", {
  message: (port: number, why: string) => `Port ${port} on 127.0.0.1 can't be listened on: ${why}.`,
  hint: () => "Give the service a port from 1024 to 65535; lower ones belong to root.",
});

/** Names the process that listens on a port, as far as this user may know. */
export async function holder(port: number): Promise<string> {
  const unknown = "a process of another user";
  try {
    const inode = await listening(port);
    if (!inode) return unknown;
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
      const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
      for (const file of files) {
        const link = await readlink(`/proc/${pid}/fd/${file}`).catch(() => "");
        if (link !== `socket:[${inode}]`) continue;
        const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
        return `process ${pid}${name ? ` (${name.trim()})` : ""}`;
      }
    }
    return unknown;
  } catch {
    return "another process"; // no /proc here
  }
}

async function listening(port: number): Promise<string | undefined> {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const row of (await readFile(table, "utf8").catch(() => "")).split("\n")) {
      const [, local, , state, , , , , , inode] = row.trim().split(/\s+/);
      // 0A is LISTEN in the kernel's include/net/tcp_states.h.
      if (state === "0A" && local?.endsWith(`:${hex}`)) return inode;
    }
  }
  return undefined;
}
