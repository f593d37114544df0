import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OffloadProblem } from '../../api/problem';
import {
  Attachment,
  type IAttachable,
  type IAttachedKernel,
  type IRemembered
} from '../attachment';
import type { IRunError } from '../kernel';
import { cluster, Clusters, environment, trans } from './fakes';

/** A kernel whose runs end when the test says so. */
class Kernel implements IAttachedKernel {
  name = 'python3';
  language: string | null = 'python';
  codes: string[] = [];
  private _ends: ((error: IRunError | null) => void)[] = [];

  run(code: string): Promise<IRunError | null> {
    this.codes.push(code);
    return new Promise(resolve => this._ends.push(resolve));
  }

  async end(error: IRunError | null = null): Promise<void> {
    this._ends.shift()?.(error);
    await settled();
  }
}

class Notebook implements IAttachable {
  constructor(public memory: IRemembered | null = null) {}
  now: Kernel | null = new Kernel();
  kernel = () => this.now;
  remembered = () => this.memory;
  remember = (value: IRemembered | null) => {
    this.memory = value;
  };
}

const settled = () => new Promise(resolve => setTimeout(resolve, 0));
const ZMUMU = { cluster: 'zmumu', id: 'zmumu' };

let clusters: Clusters;
let notebook: Notebook;
let attachment: Attachment;
let isAutomatic: boolean;

function open(memory: IRemembered | null = null): void {
  notebook = new Notebook(memory);
  attachment = new Attachment({
    clusters: clusters as never,
    notebook,
    trans,
    isAutomatic: () => isAutomatic
  });
}

beforeEach(() => {
  isAutomatic = true;
  clusters = new Clusters([cluster('zmumu'), cluster('other')]);
  open();
});

afterEach(() => attachment.dispose());

async function attached(): Promise<void> {
  attachment.attach(cluster('zmumu'));
  await settled();
  await notebook.now?.end();
  expect(attachment.state.kind).toBe('attached');
}

describe('attaching', () => {
  it('remembers names only, runs the cell, and says each step', async () => {
    const kinds: string[] = [];
    attachment.changed.connect(() => kinds.push(attachment.state.kind));
    await attached();
    expect(kinds).toEqual(['attaching', 'attached']);
    expect(notebook.memory).toEqual(ZMUMU);
    expect(notebook.now?.codes).toHaveLength(1);
    expect(notebook.now?.codes[0]).toContain('offload.cluster("zmumu")');
  });

  it('uses the connection file in a kernel without our package, and in one nobody knows', async () => {
    clusters.environmentList = [environment('python3', { versions: { dask: '2026.8.0' } })];
    attachment.attach(cluster('zmumu'));
    await settled();
    expect(notebook.now?.codes[0]).toContain('Path("/data/zmumu/connection.json")');
    attachment.dispose();

    clusters.environmentList = [];
    open(ZMUMU);
    await settled();
    expect(notebook.now?.codes[0]).toContain('Path("/data/zmumu/connection.json")');
  });

  it('waits for a cluster that cannot be connected to yet, and says why', async () => {
    clusters.show(cluster('zmumu', 'starting'));
    attachment.attach(cluster('zmumu'));
    expect(attachment.state).toMatchObject({ kind: 'waiting', message: 'zmumu is starting.' });
    expect(notebook.now?.codes).toHaveLength(0);
    clusters.show(cluster('zmumu'));
    await settled();
    await notebook.now?.end();
    expect(attachment.state.kind).toBe('attached');
  });

  it('shows the error of Python and does not try again by itself', async () => {
    attachment.attach(cluster('zmumu'));
    await settled();
    await notebook.now?.end({ name: 'OSError', message: 'Timed out' });
    expect(attachment.state).toMatchObject({ kind: 'failed', message: 'OSError: Timed out' });
    clusters.show(cluster('zmumu', 'running', { revision: 2 }));
    await settled();
    expect(notebook.now?.codes).toHaveLength(1);

    attachment.retry();
    await settled();
    await notebook.now?.end();
    expect(attachment.state.kind).toBe('attached');
  });

  it('names the remedy where Dask is missing', async () => {
    attachment.attach(cluster('zmumu'));
    await settled();
    await notebook.now?.end({ name: 'ModuleNotFoundError', message: "No module named 'dask'" });
    expect(attachment.state).toMatchObject({
      kind: 'failed',
      hint: expect.stringContaining('pip install distributed')
    });
  });

  it('says the sentence and the hint of the server when it refuses', async () => {
    clusters.connectionError = new OffloadProblem({
      type: 'about:blank',
      title: 'x',
      status: 503,
      code: 'keeper-unreachable',
      detail: 'The keeper does not answer.',
      field: null,
      hint: 'Try again.',
      transient: true,
      request_id: null,
      errors: []
    });
    attachment.attach(cluster('zmumu'));
    await settled();
    expect(attachment.state).toMatchObject({
      kind: 'failed',
      message: 'The keeper does not answer.',
      hint: 'Try again.'
    });
  });

  it('refuses a kernel of another language', async () => {
    notebook.now!.language = 'r';
    attachment.attach(cluster('zmumu'));
    await settled();
    expect(attachment.state).toMatchObject({
      kind: 'failed',
      message: expect.stringContaining('r,')
    });
    expect(notebook.now?.codes).toHaveLength(0);
  });

  it('warns of versions that differ, once attached', async () => {
    clusters.environmentList = [
      environment('python3'),
      environment('workers', {
        default: true,
        python_version: '3.12.1',
        versions: { dask: '2025.3.0', distributed: '2026.8.0' }
      })
    ];
    await attached();
    expect(attachment.state).toMatchObject({
      warnings: [
        'The kernel has Python 3.11, the cluster Python 3.12.',
        'The kernel has dask 2026.8.0, the cluster dask 2025.3.0.'
      ]
    });
  });
});

describe('kernels', () => {
  it('connects again after a restart, at once, so that it is queued before the cells', async () => {
    await attached();
    attachment.kernelReplaced();
    // No waiting here: whatever the user runs next comes after it.
    expect(notebook.now?.codes).toHaveLength(2);
    expect(attachment.state.kind).toBe('attaching');
    await notebook.now?.end();
    expect(attachment.state.kind).toBe('attached');
  });

  it('ignores the end of a run in a kernel that is gone', async () => {
    attachment.attach(cluster('zmumu'));
    await settled();
    const first = notebook.now!;
    notebook.now = new Kernel();
    attachment.kernelReplaced();
    await first.end({ name: 'KeyboardInterrupt', message: '' });
    expect(attachment.state.kind).toBe('attaching');
    await notebook.now.end();
    expect(attachment.state.kind).toBe('attached');
  });

  it('waits where there is no kernel, and connects the one that comes', async () => {
    notebook.now = null;
    attachment.attach(cluster('zmumu'));
    expect(attachment.state.kind).toBe('waiting');
    notebook.now = new Kernel();
    attachment.kernelReplaced();
    await settled();
    expect(notebook.now.codes).toHaveLength(1);
  });

  it('closes the client when detached, and when attached elsewhere', async () => {
    await attached();
    attachment.detach();
    expect(notebook.memory).toBeNull();
    expect(attachment.state.kind).toBe('detached');
    expect(notebook.now?.codes[1]).toContain('current.close()');

    await attached2();
    attachment.attach(cluster('other'));
    await settled();
    const codes = notebook.now!.codes.slice(-2);
    expect(codes[0]).toContain('tls://127.0.0.1/zmumu');
    expect(codes[0]).toContain('current.close()');
    expect(codes[1]).toContain('offload.cluster("other")');
  });

  async function attached2(): Promise<void> {
    await notebook.now?.end();
    await attached();
  }
});

describe('opening a notebook that remembers a cluster', () => {
  beforeEach(() => attachment.dispose());

  it('connects to it if it still runs', async () => {
    open(ZMUMU);
    await settled();
    await notebook.now?.end();
    expect(attachment.state).toMatchObject({ kind: 'attached', name: 'zmumu' });
  });

  it('does not connect by itself where the user does not want it, but does when asked', async () => {
    isAutomatic = false;
    open(ZMUMU);
    await settled();
    expect(attachment.state.kind).toBe('remembered');
    expect(notebook.now?.codes).toHaveLength(0);
    attachment.retry();
    await settled();
    await notebook.now?.end();
    expect(attachment.state.kind).toBe('attached');
    attachment.kernelReplaced();
    expect(attachment.state.kind).toBe('remembered');
  });

  it('waits for the list instead of taking "not seen yet" for "gone"', async () => {
    clusters.isReady = false;
    clusters.clusters = [];
    open(ZMUMU);
    expect(attachment.state.kind).toBe('waiting');
    clusters.isReady = true;
    clusters.show(cluster('zmumu'));
    await settled();
    expect(attachment.state.kind).toBe('attaching');
  });

  it('says why it ended, and follows one started again under its name', async () => {
    clusters.show(cluster('zmumu', 'failed'));
    open(ZMUMU);
    expect(attachment.state).toMatchObject({ kind: 'ended', message: 'zmumu is failed.' });
    clusters.show(cluster('again', 'running', { name: 'zmumu' }), cluster('zmumu', 'failed'));
    await settled();
    expect(notebook.memory).toEqual({ cluster: 'zmumu', id: 'again' });
    expect(attachment.state).toMatchObject({ kind: 'attaching', id: 'again' });
  });

  it('says that a forgotten one is gone, and keeps the name', () => {
    clusters.show();
    open(ZMUMU);
    expect(attachment.state).toMatchObject({ kind: 'ended', name: 'zmumu' });
    expect(notebook.memory).toEqual(ZMUMU);
  });

  it('stays attached while the cluster cannot be seen for a moment', async () => {
    open(ZMUMU);
    await settled();
    await notebook.now?.end();
    clusters.show(cluster('zmumu', 'running', { connectable: false }));
    expect(attachment.state.kind).toBe('attached');
    expect(notebook.now?.codes).toHaveLength(1);
  });
});
