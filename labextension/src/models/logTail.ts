import type { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';
import { OffloadProblem } from '../api/problem';
import type { LogChunk } from '../api/types';

/** Bytes of one request. */
export const PAGE_BYTES = 64 * 1024;
/** Characters kept; older ones are let go and can be paged in again. */
export const KEPT_CHARACTERS = 4 * 1024 * 1024;
/** Bytes of one request when all of it is wanted. */
const WHOLE_PAGE_BYTES = 1024 * 1024;
/** Interval while following. */
const FOLLOW_MS = 1000;

export type LogReader = (source: string, offset: number, limit: number) => Promise<LogChunk>;

/** One log as far as it was read: the end first, older pages on request, new lines as they come. */
export class LogTail implements IDisposable {
  constructor(
    readonly source: string,
    private readonly _read: LogReader,
    options: { poll?: boolean; standby?: Poll.Standby | (() => boolean | Poll.Standby) } = {}
  ) {
    if (options.poll !== false) {
      this._poll = new Poll({
        name: 'jupyter-offload:log',
        auto: true,
        frequency: { interval: FOLLOW_MS, backoff: true, max: 10_000 },
        standby: options.standby ?? 'when-hidden',
        factory: () => this.next()
      });
    }
  }

  get text(): string {
    return this._text;
  }

  /** First byte shown. */
  get offset(): number {
    return this._offset;
  }

  get sizeBytes(): number {
    return this._sizeBytes;
  }

  get hasOlder(): boolean {
    return this._offset > 0;
  }

  get isLoaded(): boolean {
    return this._isLoaded;
  }

  get error(): OffloadProblem | null {
    return this._error;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Read what was written since the last read; the first call reads the end of the log. */
  async next(): Promise<void> {
    await this._alone(async () => {
      let more = true;
      while (more && !this.isDisposed) {
        const offset = this._isLoaded ? this._next : -PAGE_BYTES;
        const chunk = await this._read(this.source, offset, PAGE_BYTES);
        if (this._isLoaded && chunk.size_bytes < this._next) {
          // The file was begun anew.
          this._text = '';
          this._isLoaded = false;
          continue;
        }
        if (!this._isLoaded) {
          this._offset = chunk.offset;
        }
        this._isLoaded = true;
        this._text += chunk.text;
        this._next = chunk.next_offset;
        this._sizeBytes = chunk.size_bytes;
        this._trim();
        more = chunk.next_offset < chunk.size_bytes && chunk.next_offset > chunk.offset;
      }
    });
  }

  /** Read the page before what is shown. */
  async older(): Promise<void> {
    await this._alone(async () => {
      const offset = Math.max(0, this._offset - PAGE_BYTES);
      const chunk = await this._read(this.source, offset, this._offset - offset);
      this._text = chunk.text + this._text;
      this._offset = offset;
    });
  }

  /** The whole log as it is now, without showing it. */
  async whole(): Promise<string> {
    const parts: string[] = [];
    let offset = 0;
    for (;;) {
      const chunk = await this._read(this.source, offset, WHOLE_PAGE_BYTES);
      parts.push(chunk.text);
      if (chunk.next_offset >= chunk.size_bytes || chunk.next_offset <= offset) {
        return parts.join('');
      }
      offset = chunk.next_offset;
    }
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    this._poll?.dispose();
    Signal.clearData(this);
  }

  /** One request at a time: offsets would get mixed up otherwise. */
  private _alone(task: () => Promise<void>): Promise<void> {
    const run = async () => {
      const before = this._text;
      const hadError = this._error !== null;
      const wasLoaded = this._isLoaded;
      try {
        await task();
        this._error = null;
      } catch (error) {
        this._error = OffloadProblem.from(error);
        throw this._error;
      } finally {
        if (
          !this._isDisposed &&
          (before !== this._text || hadError || this._error || !wasLoaded)
        ) {
          this._changed.emit();
        }
      }
    };
    const done = this._queue.then(run);
    this._queue = done.catch(() => undefined);
    return done;
  }

  private _trim(): void {
    if (this._text.length > KEPT_CHARACTERS) {
      const cut = this._text.slice(0, this._text.length - KEPT_CHARACTERS);
      this._text = this._text.slice(cut.length);
      this._offset += new TextEncoder().encode(cut).length;
    }
  }

  private _text = '';
  private _offset = 0;
  private _next = 0;
  private _sizeBytes = 0;
  private _isLoaded = false;
  private _isDisposed = false;
  private _error: OffloadProblem | null = null;
  private _queue: Promise<unknown> = Promise.resolve();
  private readonly _poll: Poll | null = null;
  private readonly _changed = new Signal<this, void>(this);
}
