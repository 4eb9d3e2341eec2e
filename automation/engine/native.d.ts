declare module "fs-native-extensions" {
  /** Takes an advisory lock that belongs to the open file description; false if another one holds it. */
  export function tryLock(fd: number, options?: { shared?: boolean }): boolean;
  export function unlock(fd: number): void;
}
