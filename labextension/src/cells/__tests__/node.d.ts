// A test here asks a real Python. Node's own types stay out: they would change what timers and globals are in browser code.
declare module 'node:child_process' {
  export function execFileSync(
    file: string,
    args: string[],
    options: { input: string; encoding: 'utf8' }
  ): string;
}
