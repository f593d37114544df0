// Names that jsdom lacks and that Lumino, FAST and VDomRenderer read.
globalThis.DragEvent ??= class DragEvent extends MouseEvent {} as never;
globalThis.requestIdleCallback ??= ((fn: () => void) => setTimeout(fn, 0)) as never;
window.matchMedia ??= (query: string) =>
  ({
    matches: false,
    media: query,
    addEventListener() {},
    removeEventListener() {},
    addListener() {},
    removeListener() {}
  }) as never;
