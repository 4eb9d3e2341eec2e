import { setTimeout as wait } from "node:timers/promises";
import { project } from "../support/project";
import { quicken } from "../support/driver";
import { terminal } from "../support/terminal";
import { outputLine } from "../../automation/views/schema";
(async () => {
  const p = await project();
  quicken(p, { bake: 8, rps: 50, weights: [20, 100] });
  const env = Object.fromEntries(Object.entries(p.env).filter(([k, v]) => v !== undefined && k !== "NO_COLOR" && k !== "CI")) as Record<string, string>;
  const t = await terminal(90, 26, { SLUICE_PULUMI: env.SLUICE_PULUMI!, PULUMI_HOME: env.PULUMI_HOME! });
  try {
    await t.type(`clear; cd ${p.root}; node bin/sluice.js promote staging prod --build; echo exit-$?`);
    let last = "";
    const end = Date.now() + 240000;
    for (let i = 0; Date.now() < end; i++) {
      await wait(1500);
      const s = (await t.seen()).join("\n");
      if (s !== last && i % 3 === 0) console.log(`---- ${i}\n${s}`);
      last = s;
      if (/^exit-\d/m.test(s)) break;
    }
    console.log("==== all\n" + (await t.all()).join("\n"), await t.cursor());
    // once more with a change and Ctrl-C
    const r = await p.sluice(["status", "--json"]);
    for (const l of r.stdout.trim().split("\n")) { const x = outputLine.safeParse(JSON.parse(l)); console.log(JSON.parse(l).type, x.success, x.error?.message); }
    const d = await p.sluice(["promote", "staging", "prod", "--dry-run", "--json"]);
    for (const l of d.stdout.trim().split("\n")) { const x = outputLine.safeParse(JSON.parse(l)); console.log(JSON.parse(l).type, x.success, x.error?.message); }
    await t.type(`clear; node bin/sluice.js status --watch; echo exit-$?`);
    await t.shows("status", (s) => s.includes("q ends it") && s.includes("prod"));
    await wait(3000);
    console.log("==== watch\n" + (await t.seen()).join("\n"));
    await t.press("q");
    await t.shows("end", (s) => /^exit-\d/m.test(s));
    console.log("==== watch end\n" + (await t.all()).slice(-30).join("\n"), await t.cursor());
    await t.type(`clear; node bin/sluice.js history; echo exit-$?`);
    await t.shows("end", (s) => /^exit-\d/m.test(s));
    console.log("==== hist\n" + (await t.seen()).join("\n"));
  } finally {
    t.close();
    await p.dispose();
  }
})();
