import type { Filled, Handle, Pin, Slot } from "../../components/handle";
import type { Service } from "../../components/release";
import { hashSettings, resolveSettings, type SettingsConfig } from "../../components/settings";

/** A service as small as it can be. */
export function service(more: Partial<Service> = {}): Service {
  return { name: "sample", source: { directory: "sample" }, start: ["node", "server.js"], ...more };
}

/** An artifact for each digit. */
export function pin(digit: number): Pin {
  return { artifact: `dir:sample@sha256:${String(digit).repeat(64)}` };
}

/** A slot with that artifact in it. */
export function filled(digit: number, config: SettingsConfig = {}, of: Service = service()): Filled {
  const settings = resolveSettings(of, config);
  return { pin: pin(digit), settings, hash: hashSettings(settings) };
}

/** A stack where one slot is live with artifact 1, at generation 7. */
export function handle(more: Partial<Handle> = {}, live: Slot = "blue"): Handle {
  return {
    version: 1,
    platform: "local",
    service: "sample",
    live,
    slots: { [live]: filled(1) },
    split: live === "blue" ? { blue: 100, green: 0 } : { blue: 0, green: 100 },
    generation: 7,
    ...more,
  };
}
