import type { Services } from "./admin";
import type { Surroundings } from "./around";
import { fresh } from "./rules";
import { createService, type Service, Stopping } from "./service";

/** Services that come into being with their first write, and the way to end them all; `gone` hears of one that was removed. */
export function createRegistry(
  services: Map<string, Service>,
  around: Surroundings,
  gone: (name: string) => void,
): Services & { close(keepReplicas: boolean): Promise<void>; tick(): Promise<void> } {
  let closing = false;
  const young = new Map<string, { service: Promise<Service>; pending: number }>();
  return {
    get: (name) => services.get(name),
    names: () => [...services.keys()].sort(),
    async write(name, work) {
      const known = services.get(name);
      if (known) return work(known);
      if (closing) throw Stopping(name);
      const entry = young.get(name) ?? { service: createService(fresh(name), [], around), pending: 0 };
      young.set(name, entry);
      entry.pending++;
      const service = await entry.service;
      try {
        const result = await work(service);
        services.set(name, service);
        return result;
      } finally {
        if (--entry.pending === 0) {
          young.delete(name);
          if (services.get(name) !== service) await service.close(false);
        }
      }
    },
    async remove(name, permit) {
      await services.get(name)?.remove(permit);
      services.delete(name);
      gone(name);
    },
    async close(keepReplicas) {
      closing = true;
      const all = [
        ...services.values(),
        ...(await Promise.all([...young.values()].map((one) => one.service))),
      ];
      await Promise.all(all.map((service) => service.close(keepReplicas)));
    },
    tick: async () => void (await Promise.all([...services.values()].map((service) => service.tick()))),
  };
}
