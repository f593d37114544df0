import { describe, expect, it } from 'vitest';
import { LogTail, PAGE_BYTES } from '../logTail';
import { problem } from './fakes';

/** A log file as the keeper serves it. */
class File {
  text = '';
  reads: [number, number][] = [];
  read = (source: string, offset: number, limit: number) => {
    this.reads.push([offset, limit]);
    const from = offset < 0 ? Math.max(0, this.text.length + offset) : offset;
    const text = this.text.slice(from, from + limit);
    return Promise.resolve({
      source,
      offset: from,
      next_offset: from + text.length,
      size_bytes: this.text.length,
      text
    });
  };
}

function make(text: string) {
  const file = new File();
  file.text = text;
  return { file, tail: new LogTail('w0', file.read, { poll: false }) };
}

describe('LogTail', () => {
  it('reads the end, then what is written, then older pages', async () => {
    const { file, tail } = make('a'.repeat(PAGE_BYTES) + 'b'.repeat(PAGE_BYTES));
    await tail.next();
    expect(tail.text).toBe('b'.repeat(PAGE_BYTES));
    expect(tail.hasOlder).toBe(true);
    file.text += 'new line\n';
    await tail.next();
    expect(tail.text.endsWith('bnew line\n')).toBe(true);
    await tail.older();
    expect(tail.text.startsWith('aaa')).toBe(true);
    expect(tail.hasOlder).toBe(false);
    expect(await tail.whole()).toBe(file.text);
  });

  it('begins anew when the file does', async () => {
    const { file, tail } = make('first run, which was long\n');
    await tail.next();
    file.text = 'second\n';
    await tail.next();
    expect(tail.text).toBe('second\n');
  });

  it('does not emit when nothing was written', async () => {
    const { tail } = make('text');
    let count = 0;
    tail.changed.connect(() => (count += 1));
    await tail.next();
    await tail.next();
    expect(count).toBe(1);
  });

  it('keeps the text and says why when it cannot read on', async () => {
    const { file, tail } = make('text');
    await tail.next();
    const { read } = file;
    const broken = new LogTail(
      'w0',
      (s, o, l) =>
        file.reads.length < 2 ? read(s, o, l) : Promise.reject(problem({ detail: 'Away.' })),
      { poll: false }
    );
    await broken.next();
    await expect(broken.next()).rejects.toThrow('Away.');
    expect(broken.text).toBe('text');
    expect(broken.error?.message).toBe('Away.');
  });
});
