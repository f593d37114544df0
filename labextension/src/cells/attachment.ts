import type { TranslationBundle } from '@jupyterlab/translation';
import { type ISignal, Signal } from '@lumino/signaling';
import { OffloadProblem } from '../api/problem';
import type { Cluster } from '../api/types';
import type { IClusterModel } from '../tokens';
import { attachCode, detachCode } from './code';
import {
  chooseRoute,
  clusterEnvironment,
  kernelEnvironment,
  versionWarnings
} from './environment';
import type { IRunError } from './kernel';

/** What a notebook remembers in its metadata: names only. */
export interface IRemembered {
  /** The cluster's name. */
  cluster: string;
  id: string;
}

/** The kernel as the attachment sees it. */
export interface IAttachedKernel {
  /** Name of the kernelspec. */
  readonly name: string;
  /** Lower case, null when unknown. */
  readonly language: string | null;
  /** Run code silently; resolves to the Python error, rejects when the kernel went away. */
  run(code: string): Promise<IRunError | null>;
}

/** The notebook as the attachment sees it. */
export interface IAttachable {
  /** The kernel of now; null while there is none. */
  kernel(): IAttachedKernel | null;
  remembered(): IRemembered | null;
  remember(value: IRemembered | null): void;
}

/** Where the attachment of a notebook stands. */
export type AttachmentState =
  | { kind: 'detached' }
  | { kind: 'waiting'; name: string; id: string; message: string }
  | { kind: 'remembered'; name: string; id: string }
  | { kind: 'attaching'; name: string; id: string }
  | { kind: 'attached'; name: string; id: string; warnings: string[] }
  | { kind: 'failed'; name: string; id: string; message: string; hint: string | null }
  | { kind: 'ended'; name: string; id: string; message: string; hint: string | null };

/** What was run in the present kernel process. */
interface IDone {
  id: string;
  address: string;
}

/** Whether a notebook can belong to a cluster: it has not ended, nor been asked to. */
export function canAttach(cluster: Pick<Cluster, 'phase'>): boolean {
  return !['stopping', 'stopped', 'failed'].includes(cluster.phase);
}

/**
 * Keeps one notebook attached to the cluster that it remembers: whenever the clusters, the kernel or the metadata change,
 * `update` decides what the state is and connects the kernel if that is what is missing. A failed try is not repeated until
 * the user asks or the kernel is another one.
 */
export class Attachment {
  constructor(options: IAttachmentOptions) {
    this._clusters = options.clusters;
    this._notebook = options.notebook;
    this._trans = options.trans;
    this._isAutomatic = options.isAutomatic ?? (() => true);
    this._clusters.changed.connect(this.update, this);
    this.update();
  }

  get state(): AttachmentState {
    return this._state;
  }

  /** Emitted with the state before, whenever the state is another one. */
  get changed(): ISignal<this, AttachmentState> {
    return this._changed;
  }

  /** Remember a cluster and connect to it, also where a try with it failed before. */
  attach(cluster: Pick<Cluster, 'id' | 'name'>): void {
    this._isAsked = true;
    this._isFailed = false;
    this._notebook.remember({ cluster: cluster.name, id: cluster.id });
    this.update();
  }

  /** Forget the cluster and close the kernel's client. */
  detach(): void {
    this._notebook.remember(null);
    this.update();
  }

  /** Try again after a failure, or for the first time where attaching is not automatic. */
  retry(): void {
    this._isAsked = true;
    this._isFailed = false;
    this.update();
  }

  /** The kernel process is a new one (restarted or exchanged): nothing of what was run is in it. */
  kernelReplaced(): void {
    this._done = null;
    this._run += 1;
    this._isAsked = false;
    this._isFailed = false;
    this.update();
  }

  /** Decide the state anew; connects the kernel where that is what is missing. */
  update(): void {
    if (this._isDisposed) {
      return;
    }
    const remembered = this._notebook.remembered();
    if (remembered?.id !== this._wanted) {
      this._wanted = remembered?.id ?? null;
      this._isFailed = false;
      this._run += 1;
      this._close();
    }
    if (!remembered) {
      this._set({ kind: 'detached' });
      return;
    }
    const { id, cluster: name } = remembered;
    if (!this._clusters.isReady) {
      this._set({
        kind: 'waiting',
        id,
        name,
        message: this._trans.__('Looking for the cluster.')
      });
      return;
    }
    const cluster = this._find(remembered);
    if (cluster && cluster.id !== id) {
      // Started again under its name: the notebook follows.
      this._notebook.remember({ cluster: cluster.name, id: cluster.id });
      this.update();
      return;
    }
    this._decide(cluster, remembered);
  }

  dispose(): void {
    this._isDisposed = true;
    this._run += 1;
    this._clusters.changed.disconnect(this.update, this);
    Signal.clearData(this);
  }

  private _decide(cluster: Cluster | undefined, { id, cluster: name }: IRemembered): void {
    const trans = this._trans;
    if (!cluster) {
      const message = trans.__('The cluster %1 is no longer in the list.', name);
      this._set({ kind: 'ended', id, name, message, hint: null });
    } else if (!canAttach(cluster)) {
      const { message, hint } = cluster.reason;
      this._set({ kind: 'ended', id, name, message, hint });
    } else if (this._isFailed) {
      return;
    } else if (this._done?.id === id) {
      this._setAttached(cluster);
    } else if (!cluster.connectable) {
      this._set({ kind: 'waiting', id, name, message: cluster.reason.message });
    } else if (!this._notebook.kernel()) {
      this._set({
        kind: 'waiting',
        id,
        name,
        message: trans.__('The notebook has no kernel yet.')
      });
    } else if (!this._isAsked && !this._isAutomatic()) {
      this._set({ kind: 'remembered', id, name });
    } else if (this._running !== this._run) {
      void this._connect(cluster);
    }
  }

  private _find({ id, cluster: name }: IRemembered): Cluster | undefined {
    const same = this._clusters.clusters.find(c => c.id === id);
    if (same && canAttach(same)) {
      return same;
    }
    return this._clusters.clusters.find(c => c.name === name && canAttach(c)) ?? same;
  }

  private async _connect(cluster: Cluster): Promise<void> {
    const run = this._run;
    const { id, name } = cluster;
    this._running = run;
    this._set({ kind: 'attaching', id, name });
    let failure: { message: string; hint: string | null } | null = null;
    try {
      failure = await this._runIn(this._notebook.kernel(), cluster, run);
    } catch (error) {
      const problem = OffloadProblem.from(error);
      failure = { message: problem.message, hint: problem.hint };
    }
    // A kernel that was replaced meanwhile has its own run under way.
    if (run !== this._run) {
      return;
    }
    this._running = -1;
    if (failure) {
      this._isFailed = true;
      this._set({ kind: 'failed', id, name, ...failure });
    } else {
      this.update();
    }
  }

  private async _runIn(
    kernel: IAttachedKernel | null,
    cluster: Cluster,
    run: number
  ): Promise<{ message: string; hint: string | null } | null> {
    const trans = this._trans;
    if (!kernel) {
      return null;
    }
    if (kernel.language !== null && kernel.language !== 'python') {
      return {
        message: trans.__(
          'The kernel of this notebook speaks %1, and Dask needs Python.',
          kernel.language
        ),
        hint: trans.__('Choose a Python kernel by its name at the right.')
      };
    }
    const way =
      this._ways.get(`${kernel.name}/${cluster.id}`) ?? (await this._way(kernel.name, cluster));
    if (run !== this._run) {
      return null;
    }
    const error = await kernel.run(way.code);
    if (!error) {
      if (run === this._run) {
        this._done = { id: cluster.id, address: way.address };
        this._warnings = way.warnings;
      }
      return null;
    }
    const hint =
      error.name === 'ModuleNotFoundError'
        ? (way.hint ??
          trans.__('Install Dask in the environment of this kernel: pip install distributed'))
        : null;
    return { message: `${error.name}: ${error.message}`, hint };
  }

  /**
   * What to run in kernels of this name for this cluster. It is kept, because after a restart it must be queued before the
   * cells of "Restart and run all", hence without asking the server first.
   */
  private async _way(kernelName: string, cluster: Cluster): Promise<IWay> {
    const [environments, connection] = await Promise.all([
      this._clusters.environments().catch(() => []),
      this._clusters.connection(cluster.id)
    ]);
    const environment = kernelEnvironment(kernelName, environments);
    const way: IWay = {
      code: attachCode(
        chooseRoute(environment, cluster, connection),
        connection.scheduler_address
      ),
      address: connection.scheduler_address,
      warnings: versionWarnings(
        environment,
        clusterEnvironment(cluster, environments),
        this._trans
      ),
      hint: environment?.hint ?? null
    };
    this._ways.set(`${kernelName}/${cluster.id}`, way);
    return way;
  }

  /** Close the client of the cluster before; whoever attached elsewhere does not want to wait for it. */
  private _close(): void {
    const done = this._done;
    this._done = null;
    if (done) {
      void this._notebook
        .kernel()
        ?.run(detachCode(done.address))
        .catch(() => null);
    }
  }

  private _setAttached({ id, name }: Cluster): void {
    this._set({ kind: 'attached', id, name, warnings: this._warnings });
  }

  private _set(state: AttachmentState): void {
    const old = this._state;
    if (JSON.stringify(old) !== JSON.stringify(state)) {
      this._state = state;
      this._changed.emit(old);
    }
  }

  private readonly _clusters: IAttachmentOptions['clusters'];
  private readonly _notebook: IAttachable;
  private readonly _trans: TranslationBundle;
  private readonly _isAutomatic: () => boolean;
  private readonly _changed = new Signal<this, AttachmentState>(this);
  private readonly _ways = new Map<string, IWay>();
  private _state: AttachmentState = { kind: 'detached' };
  private _wanted: string | null = null;
  private _done: IDone | null = null;
  private _warnings: string[] = [];
  /** The user asked in words for this kernel process to be connected. */
  private _isAsked = false;
  private _isFailed = false;
  private _isDisposed = false;
  /** Counts what makes a run stale: another kernel process, another cluster. */
  private _run = 0;
  private _running = -1;
}

interface IWay {
  code: string;
  address: string;
  warnings: string[];
  hint: string | null;
}

export interface IAttachmentOptions {
  clusters: Pick<
    IClusterModel,
    'clusters' | 'isReady' | 'changed' | 'connection' | 'environments'
  >;
  notebook: IAttachable;
  trans: TranslationBundle;
  /** Whether a kernel is connected without being asked, after a restart or when the notebook is opened. */
  isAutomatic?: () => boolean;
}
